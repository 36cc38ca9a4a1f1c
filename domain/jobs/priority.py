"""Levels of priority that people choose from."""

from enum import IntEnum


class JobPriority(IntEnum):
    """What stands between or beyond the levels, a boosted job's priority, say, is shown as the level below it."""

    LOW = -10
    NORMAL = 0
    HIGH = 10
    URGENT = 20

    @classmethod
    def nearest(cls, priority: int) -> "JobPriority":
        """The level of a priority."""
        return max((level for level in cls if level <= priority), default=cls.LOW)

    @property
    def bounds(self) -> tuple[int | None, int | None]:
        """From which priority, and below which one, `nearest` is this level; None: without an end."""
        levels = sorted(type(self))
        place = levels.index(self)
        return (None if place == 0 else int(self)), (int(levels[place + 1]) if place + 1 < len(levels) else None)
