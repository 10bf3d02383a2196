"""A filter: keeps the runs that failed, not more of a payload than the rule says."""

import json
from dataclasses import dataclass, fields

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.document import Run


@dataclass(frozen=True)
class Config:
    at_most: int | None = None


SCHEMA = {
    "type": "object",
    "properties": {"at_most": {"type": ["integer", "null"], "description": "Further runs are dropped."}},
    "additionalProperties": False,
}

config = Config()
kept = 0  # Of this payload: each meets the module as `configure` has left it.


class Lifecycle(exports.Lifecycle):
    def describe(self) -> str:
        return json.dumps({"description": "Keeps the runs that failed.", "version": "1.0.0", "config_schema": SCHEMA})

    def configure(self, text: str) -> None:
        global config
        try:
            config = Config(**json.loads(text))
        except TypeError as error:  # An unknown field.
            raise Err(f"config: {error}")
        for field in fields(config):
            if not isinstance(getattr(config, field.name), field.type):
                raise Err(f"config field `{field.name}`: expected {field.type}")


class Filter(exports.Filter):
    def keep(self, run: Run) -> bool:
        global kept
        is_kept = run.status() == "error" and kept != config.at_most
        kept += is_kept
        return is_kept
