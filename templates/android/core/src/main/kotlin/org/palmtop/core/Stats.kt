// SPDX-License-Identifier: 0BSD
package org.palmtop.core

import kotlin.math.ceil

/** Statistics of latencies in nanoseconds. */
object Stats {
    /** The nearest-rank percentile, [share] from 1 to 100, of values in ascending order. */
    fun percentile(ordered: LongArray, share: Int): Long =
        ordered[maxOf(ceil(share.toDouble() * ordered.size / 100).toInt(), 1) - 1]

    /** The median; of an even count the mean of the middle two. */
    fun median(values: List<Long>): Double {
        val ordered = values.sorted()
        val middle = ordered.size / 2
        return if (ordered.size % 2 == 1) ordered[middle].toDouble() else (ordered[middle - 1] + ordered[middle]) / 2.0
    }

    fun summary(latenciesNs: LongArray): Map<String, Any?> {
        val ordered = latenciesNs.sortedArray()
        return linkedMapOf(
            "n" to ordered.size,
            "p50" to percentile(ordered, 50),
            "p90" to percentile(ordered, 90),
            "p99" to percentile(ordered, 99),
            "min" to ordered.first(),
            "mean" to ordered.average(),
            "samples_sha256" to Hash.sha256(latenciesNs),
        )
    }
}
