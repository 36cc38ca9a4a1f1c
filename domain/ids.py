"""Ids as they are known outside: a type's prefix and a UUID in Crockford's base 32, such as `job_01jd7k3w5mfxg8rv2c4t6y9zqh`.

To clients they are opaque. A prefix makes one unmistakable in logs and in a support ticket.
"""

from uuid import UUID

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES = {letter: value for value, letter in enumerate(_ALPHABET)}
_LENGTH = 26
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
_SHIFTS = range(120, -1, -10)


def encode(prefix: str, value: UUID) -> str:
    """The global id of a row."""
    number = value.int
    return f"{prefix}_{''.join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])}"


def decode(text: str) -> tuple[str, UUID] | None:
    """Prefix and row id; None for what is no global id, which is then a thing that does not exist."""
    prefix, _, letters = text.rpartition("_")
    if not prefix or len(letters) != _LENGTH or letters[0] > "7" or not all(letter in _VALUES for letter in letters):
        return None
    number = 0
    for letter in letters:
        number = number * 32 + _VALUES[letter]
    return prefix, UUID(int=number)
