package palmtop.fakes

import android.os.PowerMonitor
import android.os.PowerMonitorReadings
import android.os.SystemClock
import java.util.concurrent.atomic.AtomicInteger

/**
 * What a phone's rails would count: [IDLE_UW] at all times and [CALL_UJ] more for every inference, shared by two rails.
 *
 * Snapshots are kept for [keptMs], as the service keeps them: 250 ms, or 30 s for an app without its permission.
 */
object Meter {
    const val IDLE_UW = 1_000_000L
    const val CALL_UJ = 20_000L
    val calls = AtomicInteger()
    var keptMs = 250L
    val monitors = listOf(
        PowerMonitor("CPU", PowerMonitor.POWER_MONITOR_TYPE_CONSUMER),
        PowerMonitor("[VDD_CPU]:CPU", PowerMonitor.POWER_MONITOR_TYPE_MEASUREMENT),
        PowerMonitor("[VDD_MEM]:DDR", PowerMonitor.POWER_MONITOR_TYPE_MEASUREMENT),
        PowerMonitor("[VDD_OFF]:GPU", PowerMonitor.POWER_MONITOR_TYPE_MEASUREMENT),
    )
    private var kept: PowerMonitorReadings? = null
    private var takenMs = 0L

    @Synchronized
    fun snapshot(): PowerMonitorReadings {
        val now = SystemClock.elapsedRealtime()
        kept?.takeIf { now - takenMs < keptMs }?.let { return it }
        takenMs = now
        val total = IDLE_UW * now / 1000 + CALL_UJ * calls.get()
        val shares = listOf(total, total * 3 / 4, total - total * 3 / 4)
        return PowerMonitorReadings(monitors.zip(shares).toMap(), now).also { kept = it }
    }
}
