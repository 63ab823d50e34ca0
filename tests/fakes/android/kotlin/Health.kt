package android.os.health

import android.os.OutcomeReceiver
import android.os.PowerMonitor
import android.os.PowerMonitorReadings
import java.util.concurrent.Executor
import java.util.function.Consumer
import palmtop.fakes.Meter

/** Answers from a thread of its own, as the service's answers come by binder. */
class SystemHealthManager {
    fun getSupportedPowerMonitors(executor: Executor?, onResult: Consumer<List<PowerMonitor>>) =
        later(executor) { onResult.accept(if (Meter.gauge == null) Meter.monitors else emptyList()) }

    fun getPowerMonitorReadings(
        powerMonitors: List<PowerMonitor>,
        executor: Executor?,
        onResult: OutcomeReceiver<PowerMonitorReadings, RuntimeException>,
    ) = later(executor) {
        if (Meter.monitors.containsAll(powerMonitors)) {
            onResult.onResult(Meter.snapshot())
        } else {
            onResult.onError(IllegalArgumentException("unsupported power monitor"))
        }
    }

    private fun later(executor: Executor?, work: () -> Unit) {
        Thread { executor?.execute(work) ?: work() }.start()
    }
}
