"""What the command line decides for every benchmark."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """`quick`: fewer rounds of less, to see whether all is well; its figures are rough."""

    quick: bool = False

    @property
    def rounds(self) -> int:
        """How often a measurement is repeated."""
        return 2 if self.quick else 5
