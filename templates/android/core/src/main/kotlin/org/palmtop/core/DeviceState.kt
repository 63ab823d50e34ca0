// SPDX-License-Identifier: 0BSD
package org.palmtop.core

/** What a bench session asks of the device that it runs on, never while a call is timed. What it does not tell is null. */
interface DeviceState {
    /** Fields of the record `hello`: `app`, `app_ver`, `os`, `device`, `pid`, `page_size`, `clock`. */
    fun identity(): Map<String, Any?>

    /** Fields of `mem`: `rss_kb`, `peak_kb`, `pss_kb`. */
    fun memory(): Map<String, Any?>

    /** Lets the peak of memory count from now, and says whether the system did. */
    fun resetPeak(): Boolean

    /** Fields of `env`: `thermal`, `battery`, `low_power`, `foreground`, `cpu_mask`, `power_monitors`. */
    fun environment(): Map<String, Any?>

    /** Fields of `therm`: `status`, `headroom`; null where the device tells none. */
    fun heat(): Map<String, Any?>?

    /**
     * Fields of `power`, no unit changed: `energy_uws`, `current_raw`, `counter_raw`, `voltage_raw`, `level_percent`,
     * `status`; null where the device has no meter at all.
     */
    fun power(): Map<String, Any?>?

    /** Why meters that the device has cannot be used, once [power] was asked; null: they can, or there are none. */
    val meterFault: String?
}
