package android.content.res

import java.io.File
import java.io.InputStream

class AssetManager(private val folder: File) {
    /** Throws FileNotFoundException as the framework does. */
    fun open(name: String): InputStream = File(folder, name).inputStream()
}

class Configuration {
    val locales = android.os.LocaleList()
}

class Resources {
    val configuration = Configuration()
}
