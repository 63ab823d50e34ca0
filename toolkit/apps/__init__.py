"""Starter apps: a build becomes an Android Studio or Xcode project that computes what the build computes.

:mod:`.contract` makes ``model.json`` and the golden file of a build, :mod:`.tree` renders a template tree with them,
:mod:`.project` writes a new project, :mod:`.update` brings one up to date without losing an edit, :mod:`.building` runs
Gradle or xcodebuild. ``docs/apps.md`` is the contract between these and the templates.
"""
