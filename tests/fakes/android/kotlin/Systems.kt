package android.system

object OsConstants {
    const val _SC_PAGESIZE = 47
}

object Os {
    val fakeVariables = HashMap<String, String>()

    fun sysconf(name: Int): Long = if (name == OsConstants._SC_PAGESIZE) 4096 else throw IllegalArgumentException("$name")

    fun setenv(name: String, value: String, overwrite: Boolean) {
        if (overwrite || name !in fakeVariables) fakeVariables[name] = value
    }
}
