// SPDX-License-Identifier: 0BSD
package org.palmtop.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Test

class ParityTest {
    private fun vector(vararg values: Float) = Tensor.ofFloats(values, listOf(1, values.size))

    @Test
    fun equalOutputsAreNoDistanceApart() {
        val distance = Distance().apply { add(vector(1f, 2f), vector(1f, 2f)) }
        assertEquals(0.0, distance.maxAbs, 0.0)
        assertEquals(1.0, distance.cosine, 1e-12)
        assertEquals(1.0, distance.top1 ?: -1.0, 0.0)
    }

    @Test
    fun notANumberStays() {
        val distance = Distance().apply {
            add(vector(Float.NaN, 2f), vector(1f, 2f))
            add(vector(1f, 2f), vector(1f, 2f))
        }
        assertTrue(distance.maxAbs.isNaN())
    }

    @Test
    fun anotherShapeIsInfinitelyFar() {
        val distance = Distance().apply { add(vector(1f), vector(1f, 2f)) }
        assertEquals(Double.POSITIVE_INFINITY, distance.maxAbs, 0.0)
    }

    @Test
    fun mapsHaveNoTopClass() {
        val map = Tensor.ofFloats(FloatArray(4), listOf(1, 2, 2))
        assertNull(Distance().apply { add(map, map) }.top1)
    }

    @Test
    fun whatIsOutOfToleranceIsSaid() {
        val near = Distance().apply { add(vector(1f, 2f), vector(1f, 2.1f)) }
        assertEquals(emptyList<String>(), Parity.faults(mapOf("y" to near), listOf(Tolerance("y", 0.2, 0.9))))
        assertEquals(1, Parity.faults(mapOf("y" to near), listOf(Tolerance("y", 0.01, null))).size)
        assertEquals(1, Parity.faults(mapOf("y" to near), listOf(Tolerance("y", 0.2, 0.9999999))).size)
        assertEquals(1, Parity.faults(emptyMap(), listOf(Tolerance("y", 1.0, null))).size)
    }
}
