// SPDX-License-Identifier: 0BSD
package org.palmtop.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

class TensorTest {
    @Test
    fun everyTypeKeepsItsValues() {
        for (dtype in DType.entries) {
            val tensor = Tensor.zeros(dtype, listOf(2))
            tensor[1] = 1.0
            assertEquals(listOf(0.0, 1.0), listOf(tensor[0], tensor[1]))
            assertEquals(2 * dtype.bytes, tensor.toByteArray().size)
        }
    }

    @Test
    fun integersSaturateAndRoundToEven() {
        val tensor = Tensor.zeros(DType.INT8, listOf(4))
        listOf(300.0, -300.0, 2.5, 3.5).forEachIndexed { index, value -> tensor[index] = value }
        assertEquals(listOf(127.0, -128.0, 2.0, 4.0), List(4) { tensor[it] })
    }

    @Test
    fun halfFloatsRoundTrip() {
        for (bits in 0..0x7bff) assertEquals(bits, Half.ofFloat(Half.toFloat(bits.toShort())).toInt())
        assertEquals(Float.POSITIVE_INFINITY.toDouble(), Half.toFloat(Half.ofFloat(1e6f)).toDouble(), 0.0)
        assertEquals(1.0, Half.toFloat(Half.ofFloat(1.0004f)).toDouble(), 0.0)
        assertEquals(-2.0, Half.toFloat(Half.ofFloat(-2f)).toDouble(), 0.0)
    }

    @Test
    fun aWrongNumberOfBytesIsAnError() {
        assertThrows(IllegalArgumentException::class.java) { Tensor.ofBytes(DType.FLOAT32, listOf(2), ByteArray(7)) }
    }
}
