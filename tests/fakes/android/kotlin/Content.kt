package android.content

import android.content.res.AssetManager
import android.content.res.Resources
import java.io.File
import java.io.InputStream

class ActivityNotFoundException(message: String) : RuntimeException(message)

class ContentResolver {
    fun openInputStream(uri: android.net.Uri): InputStream? = File(uri.path).takeIf { it.isFile }?.inputStream()
}

/** Its folders lie below [fakeHome]; the app's assets are a folder, too. */
open class Context {
    lateinit var fakeHome: File
    lateinit var fakeAssets: File
    var fakePackage = "com.example"
    val packageName: String get() = fakePackage
    val assets: AssetManager get() = AssetManager(fakeAssets)
    val noBackupFilesDir: File get() = File(fakeHome, "no_backup").also { it.mkdirs() }
    val cacheDir: File get() = File(fakeHome, "cache").also { it.mkdirs() }

    fun getExternalFilesDir(type: String?): File? = File(fakeHome, "external").also { check(type == null && (it.isDirectory || it.mkdirs())) }

    val contentResolver = ContentResolver()
    val resources = Resources()

    @Suppress("UNCHECKED_CAST")
    fun <T> getSystemService(kind: Class<T>): T = when (kind) {
        android.os.PowerManager::class.java -> android.os.PowerManager() as T
        android.os.BatteryManager::class.java -> android.os.BatteryManager() as T
        else -> throw IllegalArgumentException("this fake has no $kind")
    }
}
