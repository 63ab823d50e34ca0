package android.os

import java.util.Locale

class Bundle {
    val fakeValues = LinkedHashMap<String, String>()

    fun putString(key: String, value: String?) {
        if (value != null) fakeValues[key] = value
    }

    fun getString(key: String): String? = fakeValues[key]
}

object Build {
    const val MANUFACTURER = "palmtop"
    const val MODEL = "JVM fake"

    object VERSION {
        const val RELEASE = "16"
        var SDK_INT = 36
    }

    object VERSION_CODES {
        const val P = 28
        const val Q = 29
        const val R = 30
        const val S = 31
        const val VANILLA_ICE_CREAM = 35
    }
}

object Process {
    const val THREAD_PRIORITY_FOREGROUND = -2

    fun myPid(): Int = ProcessHandle.current().pid().toInt()

    fun setThreadPriority(priority: Int) = require(priority in -20..19)
}

class PowerManager {
    val isPowerSaveMode = false
    val currentThermalStatus = 0

    fun getThermalHeadroom(forecastSeconds: Int): Float = if (forecastSeconds in 0..60) 0.5f else Float.NaN
}

class BatteryManager {
    fun getIntProperty(id: Int): Int = when (id) {
        BATTERY_PROPERTY_CAPACITY -> 80
        BATTERY_PROPERTY_CURRENT_NOW -> palmtop.fakes.Meter.gauge?.read() ?: -250_000
        BATTERY_PROPERTY_CHARGE_COUNTER -> if (palmtop.fakes.Meter.gauge == null) 3_000_000 else Int.MIN_VALUE
        else -> Int.MIN_VALUE
    }

    companion object {
        const val BATTERY_PROPERTY_CHARGE_COUNTER = 1
        const val BATTERY_PROPERTY_CURRENT_NOW = 2
        const val BATTERY_PROPERTY_CAPACITY = 4
        const val EXTRA_STATUS = "status"
        const val EXTRA_LEVEL = "level"
        const val EXTRA_SCALE = "scale"
        const val EXTRA_VOLTAGE = "voltage"
    }
}

class LocaleList {
    fun size() = 1

    fun get(index: Int): Locale = listOf(Locale.ENGLISH)[index]
}
