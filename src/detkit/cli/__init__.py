"""The commands: one small file each, imported when it is typed. stdout is for programs, stderr for people."""
