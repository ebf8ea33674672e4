"""The checks of data: what is looked for, and how. Made before each training, and by the doctor."""
