from typing import Any


def render(value: Any) -> str:
    raise NotImplementedError
