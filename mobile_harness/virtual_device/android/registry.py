"""All commands of the device by name; ``*`` runs a file by its path."""

from __future__ import annotations

from typing import Final

from mobile_harness.virtual_device.android import (
    activity,
    blocks,
    dumpsys,
    execute,
    files,
    logcat,
    packaging,
    settings,
    texts,
    tools,
)
from mobile_harness.virtual_device.android.call import Command

CMD: Final = settings.make_cmd({"package": packaging.pm, "activity": activity.am})

COMMANDS: Final[dict[str, Command]] = {
    **files.COMMANDS,
    **blocks.COMMANDS,
    **texts.COMMANDS,
    **tools.COMMANDS,
    **settings.COMMANDS,
    **dumpsys.COMMANDS,
    **packaging.COMMANDS,
    **activity.COMMANDS,
    **logcat.COMMANDS,
    "cmd": CMD,
    "*": execute.execute,
}
