// SPDX-License-Identifier: 0BSD
package org.palmtop.core

import java.nio.ByteBuffer
import java.nio.ByteOrder

/** The types of tensor elements, by the names that builds and golden files use. */
enum class DType(val word: String, val bytes: Int) {
    FLOAT32("float32", 4),
    FLOAT16("float16", 2),
    FLOAT64("float64", 8),
    INT8("int8", 1),
    UINT8("uint8", 1),
    INT16("int16", 2),
    UINT16("uint16", 2),
    INT32("int32", 4),
    UINT32("uint32", 4),
    INT64("int64", 8),
    UINT64("uint64", 8),
    BOOL("bool", 1);

    val isFloat: Boolean get() = this == FLOAT32 || this == FLOAT16 || this == FLOAT64

    companion object {
        fun of(word: String): DType =
            entries.firstOrNull { it.word == word } ?: throw IllegalArgumentException("unknown element type '$word'")
    }
}

/** How integers stand for real numbers: `real = scale * (value - zeroPoint)`. */
data class Quantization(val scale: Float, val zeroPoint: Int)

/** An input or output of a model. An axis of unknown length is -1. */
data class TensorSpec(val name: String, val dtype: DType, val shape: List<Int>, val quantization: Quantization? = null) {
    /** The shape with every unknown axis of length 1. */
    val fixedShape: List<Int> get() = shape.map { maxOf(it, 1) }

    /** Whether a shape is this one, unknown axes fitting any length. */
    fun fits(other: List<Int>): Boolean =
        shape.size == other.size && shape.indices.all { shape[it] == -1 || shape[it] == other[it] }
}

/** Values of a tensor, row-major, in a direct little-endian buffer whose position stays 0. */
class Tensor(val dtype: DType, val shape: List<Int>, val data: ByteBuffer) {
    val size: Int = shape.fold(1) { product, axis -> Math.multiplyExact(product, axis) }

    init {
        require(data.order() == ByteOrder.LITTLE_ENDIAN) { "a tensor's bytes are little-endian" }
        require(data.capacity() == Math.multiplyExact(size, dtype.bytes)) {
            "${data.capacity()} bytes are not ${dtype.word} $shape"
        }
    }

    /** Returns element [index] as a real number. */
    operator fun get(index: Int): Double = when (dtype) {
        DType.FLOAT32 -> data.getFloat(4 * index).toDouble()
        DType.FLOAT64 -> data.getDouble(8 * index)
        DType.FLOAT16 -> Half.toFloat(data.getShort(2 * index)).toDouble()
        DType.INT8 -> data.get(index).toDouble()
        DType.UINT8, DType.BOOL -> (data.get(index).toInt() and 0xff).toDouble()
        DType.INT16 -> data.getShort(2 * index).toDouble()
        DType.UINT16 -> (data.getShort(2 * index).toInt() and 0xffff).toDouble()
        DType.INT32 -> data.getInt(4 * index).toDouble()
        DType.UINT32 -> (data.getInt(4 * index).toLong() and 0xffffffffL).toDouble()
        DType.INT64 -> data.getLong(8 * index).toDouble()
        DType.UINT64 -> data.getLong(8 * index).toULong().toDouble()
    }

    /** Stores a real number at [index], rounded to even and saturated where the elements are integers. */
    operator fun set(index: Int, value: Double) {
        when (dtype) {
            DType.FLOAT32 -> data.putFloat(4 * index, value.toFloat())
            DType.FLOAT64 -> data.putDouble(8 * index, value)
            DType.FLOAT16 -> data.putShort(2 * index, Half.ofFloat(value.toFloat()))
            DType.INT8 -> data.put(index, Math.rint(value).coerceIn(-128.0, 127.0).toInt().toByte())
            DType.UINT8 -> data.put(index, Math.rint(value).coerceIn(0.0, 255.0).toInt().toByte())
            DType.INT16 -> data.putShort(2 * index, Math.rint(value).coerceIn(-32768.0, 32767.0).toInt().toShort())
            DType.UINT16 -> data.putShort(2 * index, Math.rint(value).coerceIn(0.0, 65535.0).toInt().toShort())
            DType.INT32 -> data.putInt(4 * index, Math.rint(value).toInt())
            DType.UINT32 -> data.putInt(4 * index, Math.rint(value).coerceIn(0.0, 4294967295.0).toLong().toInt())
            DType.INT64 -> data.putLong(8 * index, Math.rint(value).toLong())
            DType.UINT64 -> data.putLong(8 * index, Math.rint(value).toULong().toLong())
            DType.BOOL -> data.put(index, if (value != 0.0) 1 else 0)
        }
    }

    fun toFloatArray(): FloatArray = FloatArray(size) { this[it].toFloat() }

    fun toIntArray(): IntArray = IntArray(size) { this[it].toInt() }

    fun toLongArray(): LongArray =
        if (dtype.bytes == 8 && !dtype.isFloat) LongArray(size) { data.getLong(8 * it) } else LongArray(size) { this[it].toLong() }

    fun toByteArray(): ByteArray = ByteArray(data.capacity()).also { bytes -> data.duplicate().get(bytes) }

    companion object {
        fun zeros(dtype: DType, shape: List<Int>): Tensor =
            Tensor(dtype, shape, buffer(shape.fold(dtype.bytes) { product, axis -> Math.multiplyExact(product, axis) }))

        fun ofFloats(values: FloatArray, shape: List<Int>): Tensor =
            zeros(DType.FLOAT32, shape).also { it.data.asFloatBuffer().put(values) }

        fun ofBytes(dtype: DType, shape: List<Int>, bytes: ByteArray): Tensor =
            Tensor(dtype, shape, buffer(bytes.size).also { it.duplicate().put(bytes) })

        private fun buffer(bytes: Int): ByteBuffer = ByteBuffer.allocateDirect(bytes).order(ByteOrder.LITTLE_ENDIAN)
    }
}

/** Half floats (IEEE 754 binary16). */
object Half {
    fun toFloat(half: Short): Float {
        val bits = half.toInt() and 0xffff
        val sign = if (bits shr 15 == 0) 1f else -1f
        val exponent = (bits shr 10) and 31
        val fraction = bits and 1023
        return when (exponent) {
            0 -> sign * fraction * Math.scalb(1f, -24)
            31 -> if (fraction == 0) sign * Float.POSITIVE_INFINITY else Float.NaN
            else -> sign * Math.scalb(1f + fraction / 1024f, exponent - 15)
        }
    }

    /** Returns the nearest half float, ties to even. */
    fun ofFloat(value: Float): Short {
        val sign = if (java.lang.Float.floatToRawIntBits(value) < 0) 0x8000 else 0
        val magnitude = Math.abs(value)
        val bits = when {
            value.isNaN() -> 0x7e00
            magnitude >= 65520f -> 0x7c00
            magnitude < Math.scalb(1f, -14) -> Math.rint(magnitude.toDouble() * (1 shl 24)).toInt()
            else -> {
                val exponent = Math.getExponent(magnitude)
                val fraction = Math.rint((Math.scalb(magnitude.toDouble(), -exponent) - 1) * 1024).toInt()
                ((exponent + 15) shl 10) + fraction
            }
        }
        return (sign or bits).toShort()
    }
}
