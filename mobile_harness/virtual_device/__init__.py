"""An Android device in Python that the real adb server talks to; see ``docs/virtual_device.md``.

It stands apart: a command and the tests start it, and the rest of the harness meets it through adb alone. It bears no
phone's name. What it executes runs on this host, and what it says of battery, heat and memory is a script.
"""
