"""Global ids: a type's prefix and a UUID in Crockford's base 32, such as `job_01jd7k3w5mfxg8rv2c4t6y9zqh`.

To clients they are opaque. A prefix makes one unmistakable in logs and in a support ticket.
"""

from uuid import UUID

from domain.errors import Invalid

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


def find(prefix: str, text: str) -> UUID | None:
    """The row id if `text` is an id of this type; None otherwise."""
    found = decode(text)
    return found[1] if found is not None and found[0] == prefix else None


def read(prefix: str, text: str, *, field: str) -> UUID:
    """The row id, for input where an id that leads nowhere is a mistake. Raises Invalid."""
    found = find(prefix, text)
    if found is None:
        raise Invalid("This is not an id of the right type.", field=(field,))
    return found


def read_any(text: str, *, field: str) -> UUID:
    """The row id of an id of any type. Raises Invalid."""
    found = decode(text)
    if found is None:
        raise Invalid("This is not an id.", field=(field,))
    return found[1]
