"""From a deployed build to a session's figures.

:mod:`.machine` decides, :mod:`.loop` obeys it on a device, :mod:`.session` turns what came into figures or a failure.
"""
