// SPDX-License-Identifier: 0BSD
package org.palmtop.core

import java.io.File
import java.io.InputStream
import java.util.zip.ZipFile

/** Golden samples: the inputs of each, and the outputs that the build computed from them where it was made. */
class Golden(val samples: List<Sample>) {
    class Sample(val inputs: Map<String, Tensor>, val outputs: Map<String, Tensor>)

    init {
        require(samples.isNotEmpty()) { "the golden file holds no samples" }
    }

    val outputNames: List<String> get() = samples.first().outputs.keys.toList()

    companion object {
        private const val BYTES_MAX = 1L shl 30

        /** Reads `golden.bin` as `model.json` describes it; its checksum is held against the description's. */
        fun read(bytes: ByteArray, spec: GoldenSpec): Golden {
            require(Hash.sha256(bytes) == spec.sha256) { "${spec.file} is not the file that model.json describes" }
            val bySample = spec.tensors.groupBy { it.sample }.toSortedMap()
            return Golden(bySample.values.map { Sample(tensors(bytes, it, true), tensors(bytes, it, false)) })
        }

        private fun tensors(bytes: ByteArray, described: List<GoldenTensor>, inputs: Boolean): Map<String, Tensor> =
            described.filter { it.isInput == inputs }.associate { it.spec.name to tensor(bytes, it) }

        fun tensor(bytes: ByteArray, described: GoldenTensor): Tensor {
            val end = described.offset.toLong() + described.size
            require(described.offset >= 0 && end <= bytes.size) { "the golden file ends before ${described.spec.name}" }
            val values = bytes.copyOfRange(described.offset, end.toInt())
            return Tensor.ofBytes(described.spec.dtype, described.spec.shape, values)
        }

        /**
         * Reads the `.npz` that comes with an order: arrays `in/NAME` and `out/NAME` whose first axis is the sample.
         *
         * @throws IllegalArgumentException it is no such file, is too large, or the arrays disagree.
         */
        fun readNpz(file: File): Golden {
            val arrays = ZipFile(file).use { zip ->
                val entries = zip.entries().toList().filter { it.name.endsWith(".npy") }
                require(entries.sumOf { it.size } <= BYTES_MAX) { "the golden file unpacks to more than $BYTES_MAX bytes" }
                entries.associate { it.name.removeSuffix(".npy") to zip.getInputStream(it).use(Npy::read) }
            }
            val counts = arrays.values.map { it.shape.firstOrNull() ?: 0 }.distinct()
            require(counts.size == 1) { "the golden arrays have different numbers of samples: $counts" }
            fun named(prefix: String, index: Int) =
                arrays.filterKeys { it.startsWith(prefix) }.map { (name, all) -> name.removePrefix(prefix) to slice(all, index) }.toMap()
            return Golden(List(counts.single()) { Sample(named("in/", it), named("out/", it)) })
        }

        private fun slice(all: Tensor, index: Int): Tensor {
            val shape = all.shape.drop(1)
            val size = shape.fold(all.dtype.bytes) { product, axis -> Math.multiplyExact(product, axis) }
            return Tensor.ofBytes(all.dtype, shape, all.toByteArray().copyOfRange(index * size, (index + 1) * size))
        }
    }
}

/** One array of numpy's format NPY 1.0 to 3.0: a Python literal that describes it, then its bytes. */
object Npy {
    private val MAGIC = "\u0093NUMPY".toByteArray(Charsets.ISO_8859_1)
    private val DESCR = Regex("'descr': *'([<|>=])([a-z])([0-9]+)'")
    private val ORDER = Regex("'fortran_order': *(True|False)")
    private val SHAPE = Regex("'shape': *\\(([0-9, ]*)\\)")
    private val WORDS = mapOf(
        "f4" to DType.FLOAT32, "f2" to DType.FLOAT16, "f8" to DType.FLOAT64, "i1" to DType.INT8, "u1" to DType.UINT8,
        "i2" to DType.INT16, "u2" to DType.UINT16, "i4" to DType.INT32, "u4" to DType.UINT32, "i8" to DType.INT64,
        "u8" to DType.UINT64, "b1" to DType.BOOL,
    )

    fun read(stream: InputStream): Tensor {
        val bytes = stream.readBytes()
        require(bytes.size > 12 && bytes.copyOf(MAGIC.size).contentEquals(MAGIC)) { "a golden array is not in numpy's format" }
        val wide = bytes[6] > 1
        val length = (0 until if (wide) 4 else 2).sumOf { (bytes[8 + it].toInt() and 0xff) shl (8 * it) }
        val start = (if (wide) 12 else 10) + length
        require(start in 10..bytes.size) { "a golden array's header is cut" }
        val header = String(bytes, 0, start, Charsets.ISO_8859_1)
        val (endian, kind, width) = found(DESCR, header).destructured
        require(endian != ">" && found(ORDER, header).groupValues[1] == "False") { "a golden array has a foreign byte or axis order" }
        val dtype = requireNotNull(WORDS[kind + width]) { "golden arrays of type $kind$width are not supported" }
        val shape = found(SHAPE, header).groupValues[1].split(',').filter { it.isNotBlank() }.map { it.trim().toInt() }
        return Tensor.ofBytes(dtype, shape, bytes.copyOfRange(start, bytes.size))
    }

    private fun found(pattern: Regex, header: String): MatchResult =
        requireNotNull(pattern.find(header)) { "a golden array's header is damaged" }
}
