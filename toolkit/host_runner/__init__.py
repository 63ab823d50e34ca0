"""A bench app in Python: measures one build in a process of its own and tells by the protocol of ``docs/wire.md``.

``python -m toolkit.host_runner --palmtop=<base64url of JSON>``. It shares no code with the host that reads it, as the
phone apps share none: only the page and the transcripts under ``tests/samples/wire`` hold the two together.
"""
