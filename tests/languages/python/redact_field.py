"""A transform: replaces one field of every run."""

import json
from dataclasses import dataclass, fields

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.document import Payload


@dataclass(frozen=True)
class Config:
    pointer: str
    replacement: str = "[redacted]"


SCHEMA = {
    "type": "object",
    "properties": {
        "pointer": {"type": "string", "description": "JSON pointer from the run: `/inputs/email`."},
        "replacement": {"type": "string", "default": "[redacted]"},
    },
    "required": ["pointer"],
    "additionalProperties": False,
}

config: Config


class Lifecycle(exports.Lifecycle):
    def describe(self) -> str:
        about = {"description": "Replaces one field of every run.", "version": "1.0.0", "config_schema": SCHEMA}
        return json.dumps(about)

    def configure(self, text: str) -> None:
        global config
        try:
            config = Config(**json.loads(text))
        except TypeError as error:  # A field is unknown or missing.
            raise Err(f"config: {error}")
        for field in fields(config):
            if not isinstance(getattr(config, field.name), field.type):
                raise Err(f"config field `{field.name}`: expected {field.type.__name__}")


class Transform(exports.Transform):
    def apply(self, payload: Payload) -> None:
        for index in range(payload.len()):
            run = payload.run(index)
            if run.get(config.pointer) is not None:
                run.set(config.pointer, json.dumps(config.replacement))
