"""palmtop-bench/1: what a bench app tells the host. Pure: text and bytes in, values out; the page is ``docs/wire.md``.

:mod:`.messages` are the records, :mod:`.frames` the checksummed lines they travel in while a run lasts,
:mod:`.transcript` the collection of those lines, the result file, and the rule that merges the two. Whatever comes in
is hostile until it parses: every size is bounded, and bad input is counted, never raised.
"""
