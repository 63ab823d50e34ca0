"""What Android devices and their tools say, as values. Pure: text in, frozen values out; nothing here asks a device.

One file a subject. A parser never raises on what a device said: it returns its value, a value with None where the text
is silent, or :class:`.reading.Unreadable`. A figure that must not be believed is :class:`.reading.Unavailable`. All
text is hostile: lines, numbers and counts are bounded, and time grows with the length of the text alone.
"""
