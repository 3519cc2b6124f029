"""Tables of a farm file that parts read themselves: into frozen values, or one named error."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shedload.errors import ConfigError

Port = Annotated[int, Field(ge=0, le=65_535)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Table(BaseModel):
    """A table without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


T = TypeVar("T", bound=Table)


def read_table(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """Read a table. Raises ConfigError, naming the first key that is wrong."""
    try:
        return kind.model_validate(dict(table))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        known = f"known keys are {', '.join(sorted(kind.model_fields))}"
        unknown = first["type"] == "extra_forbidden"
        problem = "unknown key" if unknown else first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{where}.{place}" if place else where, problem, known if unknown else "") from None
