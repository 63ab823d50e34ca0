// SPDX-License-Identifier: 0BSD
package org.palmtop.core

import org.junit.Assert.assertEquals
import org.junit.Test

class StatsTest {
    @Test
    fun percentilesAreNearestRank() {
        val values = LongArray(10) { (it + 1) * 10L }
        assertEquals(listOf(50L, 90L, 100L), listOf(50, 90, 99).map { Stats.percentile(values, it) })
        assertEquals(7L, Stats.percentile(longArrayOf(7), 50))
    }

    @Test
    fun theMedianOfAnEvenCountIsTheMiddle() {
        assertEquals(2.5, Stats.median(listOf(4, 1, 3, 2)), 0.0)
        assertEquals(3.0, Stats.median(listOf(9, 1, 3)), 0.0)
    }

    @Test
    fun theChecksumCoversLittleEndianLongs() {
        assertEquals(Hash.sha256(byteArrayOf(1, 2, 0, 0, 0, 0, 0, 0)), Hash.sha256(longArrayOf(513)))
    }
}
