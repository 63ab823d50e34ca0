// SPDX-License-Identifier: 0BSD
package org.palmtop.core

import java.io.File
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel

/** The inputs and outputs of a `.tflite` file, in order: names, element types, shapes, quantization. */
data class TfliteSignature(val inputs: List<TensorSpec>, val outputs: List<TensorSpec>)

/**
 * Reads the public face of a `.tflite` file, so that any model can be measured, not only the one in the app.
 *
 * It is a FlatBuffer (https://flatbuffers.dev/internals/): a table begins with the distance back to its vtable, which
 * holds for each field its offset in the table, 0 where it is absent. Field numbers are those of TFLite's `schema.fbs`.
 * A damaged file is an [IllegalArgumentException].
 */
class TfliteFile private constructor(private val raw: ByteBuffer) {
    private fun signature(): TfliteSignature {
        val model = Table(raw.getInt(0))
        val graph = model.tables(MODEL_SUBGRAPHS).firstOrNull() ?: throw IllegalArgumentException("the model has no graph")
        val tensors = graph.tables(GRAPH_TENSORS)
        val named = model.tables(MODEL_SIGNATURES).firstOrNull { it.int(SIGNATURE_SUBGRAPH) == 0 }
        fun specs(indices: List<Int>, field: Int): List<TensorSpec> {
            val names = named?.tables(field)?.associate { it.int(MAP_TENSOR) to it.text(MAP_NAME) } ?: emptyMap()
            return indices.map { index -> spec(tensors[index], names[index]) }
        }
        return TfliteSignature(
            specs(graph.ints(GRAPH_INPUTS), SIGNATURE_INPUTS), specs(graph.ints(GRAPH_OUTPUTS), SIGNATURE_OUTPUTS),
        )
    }

    private fun spec(tensor: Table, publicName: String?): TensorSpec {
        val type = tensor.byte(TENSOR_TYPE)
        val dtype = TYPES[type] ?: throw IllegalArgumentException("tensors of TFLite's type $type are not supported")
        val unknown = tensor.ints(TENSOR_SHAPE_SIGNATURE)
        val shape = unknown.ifEmpty { tensor.ints(TENSOR_SHAPE) }
        return TensorSpec(publicName ?: tensor.text(TENSOR_NAME), dtype, shape, if (dtype.isFloat) null else quantization(tensor))
    }

    private fun quantization(tensor: Table): Quantization? {
        val table = tensor.table(TENSOR_QUANTIZATION) ?: return null
        val scale = table.vector(QUANTIZATION_SCALE) ?: return null
        if (raw.getInt(scale) != 1) return null
        val zero = table.vector(QUANTIZATION_ZERO_POINT)?.let { raw.getLong(it + 4) } ?: 0L
        return Quantization(raw.getFloat(scale + 4), zero.toInt())
    }

    /** A table at byte [at] of the file. */
    private inner class Table(private val at: Int) {
        /** Where a field lies, or null where it is absent. */
        private fun field(number: Int): Int? {
            val vtable = at - raw.getInt(at)
            val entry = 4 + 2 * number
            if (entry + 2 > raw.getShort(vtable).toInt()) return null
            return raw.getShort(vtable + entry).toInt().and(0xffff).takeIf { it != 0 }?.plus(at)
        }

        fun int(number: Int): Int = field(number)?.let(raw::getInt) ?: 0

        fun byte(number: Int): Int = field(number)?.let { raw.get(it).toInt() } ?: 0

        /** Where a vector's length lies; its elements follow. */
        fun vector(number: Int): Int? = field(number)?.let { it + raw.getInt(it) }

        fun table(number: Int): Table? = vector(number)?.let(::Table)

        fun tables(number: Int): List<Table> = elements(number) { at -> Table(at + raw.getInt(at)) }

        fun ints(number: Int): List<Int> = elements(number, raw::getInt)

        fun text(number: Int): String {
            val start = vector(number) ?: return ""
            val bytes = ByteArray(length(start, 1))
            val view = raw.duplicate()
            view.position(start + 4)
            view.get(bytes)
            return String(bytes, Charsets.UTF_8)
        }

        private fun <T> elements(number: Int, read: (Int) -> T): List<T> {
            val start = vector(number) ?: return emptyList()
            return List(length(start, 4)) { read(start + 4 + 4 * it) }
        }

        private fun length(start: Int, width: Int): Int = raw.getInt(start).also {
            require(it >= 0 && it <= (raw.limit() - start - 4) / width) { "a vector is longer than the file" }
        }
    }

    companion object {
        private const val MODEL_SUBGRAPHS = 2
        private const val MODEL_SIGNATURES = 7
        private const val GRAPH_TENSORS = 0
        private const val GRAPH_INPUTS = 1
        private const val GRAPH_OUTPUTS = 2
        private const val SIGNATURE_INPUTS = 0
        private const val SIGNATURE_OUTPUTS = 1
        private const val SIGNATURE_SUBGRAPH = 4
        private const val MAP_NAME = 0
        private const val MAP_TENSOR = 1
        private const val TENSOR_SHAPE = 0
        private const val TENSOR_TYPE = 1
        private const val TENSOR_NAME = 3
        private const val TENSOR_QUANTIZATION = 4
        private const val TENSOR_SHAPE_SIGNATURE = 7
        private const val QUANTIZATION_SCALE = 2
        private const val QUANTIZATION_ZERO_POINT = 3
        private val TYPES = mapOf(
            0 to DType.FLOAT32, 1 to DType.FLOAT16, 2 to DType.INT32, 3 to DType.UINT8, 4 to DType.INT64,
            6 to DType.BOOL, 7 to DType.INT16, 9 to DType.INT8, 10 to DType.FLOAT64, 12 to DType.UINT64,
            15 to DType.UINT32, 16 to DType.UINT16,
        )

        fun signature(file: File): TfliteSignature {
            val raw = RandomAccessFile(file, "r").use { it.channel.map(FileChannel.MapMode.READ_ONLY, 0, it.length()) }
            raw.order(ByteOrder.LITTLE_ENDIAN)
            require(raw.limit() > 8 && raw.getInt(4) == IDENTIFIER) { "${file.name} is no TFLite model" }
            return try {
                TfliteFile(raw).signature()
            } catch (error: IndexOutOfBoundsException) {
                throw IllegalArgumentException("${file.name} is a damaged TFLite model", error)
            }
        }

        private const val IDENTIFIER = 0x334c4654 // "TFL3"
    }
}
