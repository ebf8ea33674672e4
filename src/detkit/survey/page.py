from dataclasses import dataclass
@dataclass
class Wanted:
    pass
def write_page(*a): ...
