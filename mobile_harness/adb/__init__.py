"""A client of the adb server: links with deadlines, the shell protocol, verified pushes, and a session on a device.

The adb binary is the one that ``adbutils`` carries or finds; everything else speaks to the server itself. adbutils'
own client starts servers on its own (on the wrong port when another is asked for), waits without bounds in its sync
service, sends files in pieces of 4 KiB and hides why a push failed; here every wait has an end and every end a reason.
Nothing here knows of builds, runs or measurements.
"""
