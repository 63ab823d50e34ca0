package android.content

import android.content.res.AssetManager
import android.content.res.Resources
import java.io.File
import java.io.InputStream

class ActivityNotFoundException(message: String) : RuntimeException(message)

abstract class BroadcastReceiver

class IntentFilter(val fakeAction: String)

class Intent {
    val fakeNumbers = HashMap<String, Int>()

    fun getIntExtra(name: String, defaultValue: Int): Int = fakeNumbers[name] ?: defaultValue

    companion object {
        const val ACTION_BATTERY_CHANGED = "android.intent.action.BATTERY_CHANGED"
    }
}

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

    /** The battery's sticky broadcast, which comes without a receiver. */
    fun registerReceiver(receiver: BroadcastReceiver?, filter: IntentFilter): Intent? {
        check(receiver == null && filter.fakeAction == Intent.ACTION_BATTERY_CHANGED)
        return Intent().apply { fakeNumbers += mapOf("status" to 3, "level" to 40, "scale" to 50, "voltage" to 3900) }
    }

    val contentResolver = ContentResolver()
    val resources = Resources()

    @Suppress("UNCHECKED_CAST")
    fun <T> getSystemService(kind: Class<T>): T = when (kind) {
        android.os.PowerManager::class.java -> android.os.PowerManager() as T
        android.os.BatteryManager::class.java -> android.os.BatteryManager() as T
        android.os.health.SystemHealthManager::class.java -> android.os.health.SystemHealthManager() as T
        else -> throw IllegalArgumentException("this fake has no $kind")
    }
}
