package android.os

class PowerMonitor(val name: String, val type: Int) {
    companion object {
        const val POWER_MONITOR_TYPE_CONSUMER = 0
        const val POWER_MONITOR_TYPE_MEASUREMENT = 1
    }
}

class PowerMonitorReadings(private val energies: Map<PowerMonitor, Long>, private val takenMs: Long) {
    fun getConsumedEnergy(monitor: PowerMonitor): Long = energies[monitor] ?: ENERGY_UNAVAILABLE.toLong()

    fun getTimestampMillis(monitor: PowerMonitor): Long = if (monitor in energies) takenMs else 0

    companion object {
        const val ENERGY_UNAVAILABLE = -1
    }
}

interface OutcomeReceiver<R, E : Throwable> {
    fun onResult(result: R)

    fun onError(error: E) = Unit
}

object SystemClock {
    fun elapsedRealtime(): Long = System.nanoTime() / 1_000_000
}

object Debug {
    fun getPss(): Long = java.io.File("/proc/self/smaps_rollup").readLines()
        .first { it.startsWith("Pss:") }.split(Regex("\\s+"))[1].toLong()
}
