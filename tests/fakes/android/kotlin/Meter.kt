package palmtop.fakes

import android.os.PowerMonitor
import android.os.PowerMonitorReadings
import android.os.SystemClock
import java.util.concurrent.atomic.AtomicInteger

/**
 * What a phone's rails would count: [IDLE_UW] at all times and [CALL_UJ] more for every inference, shared by two rails.
 *
 * A phone without rails has a gauge of its battery's current, see [Gauge]. Snapshots are kept for [keptMs], as the service keeps them: 250 ms, or 30 s for an app without its permission.
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
    var callUj = CALL_UJ
    var gauge: Gauge? = null
    private var kept: PowerMonitorReadings? = null
    private var takenMs = 0L

    /** What was drawn since the start, in microjoules. */
    fun drawnUj(): Long = IDLE_UW * (System.nanoTime() / 1000) / 1_000_000 + callUj * calls.get()

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

/**
 * A gauge of the battery's current at 3.9 V: the mean since it was last read, and a ripple of 1 % as real ones have.
 *
 * Vendors differ: [isMilli] says mA instead of the contract's µA, [isPositive] has the wrong sign while discharging.
 */
class Gauge(private val isMilli: Boolean, private val isPositive: Boolean) {
    private var readNs = System.nanoTime()
    private var drawnUj = Meter.drawnUj()
    private var raw = 0
    private var ripple = 1.01

    @Synchronized
    fun read(): Int {
        val now = System.nanoTime()
        if (raw != 0 && now - readNs < UPDATE_NS) return raw
        val drawn = Meter.drawnUj()
        val ua = (drawn - drawnUj) * 1e9 / maxOf(now - readNs, 1L) / VOLTS * ripple
        readNs = now
        drawnUj = drawn
        ripple = 2 - ripple
        raw = (ua / (if (isMilli) 1000 else 1)).toInt() * (if (isPositive) 1 else -1)
        return raw
    }

    private companion object {
        const val UPDATE_NS = 200_000_000L
        const val VOLTS = 3.9
    }
}
