"""Projects to try palmtop on: one file a project, each a `toolkit.demos._project.Demo`.

A demo's model and labelled data come with packages of the extra ``demo``, so nothing is downloaded when it runs.
"""
