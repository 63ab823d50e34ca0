package android.net

class Uri(val path: String)
