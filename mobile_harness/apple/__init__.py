"""What Xcode's ``xcrun`` tools say of simulators and iPhones, and running them with deadlines and parsed outcomes.

Parsers are pure and take whatever comes: their answer is a value, or why there is none. Their forms follow recorded
outputs of Xcode 10 to 27 (``simctl``) and of devicectl's JSON versions 2 to 5. Nothing here knows of builds or runs.
"""
