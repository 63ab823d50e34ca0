// SPDX-License-Identifier: 0BSD
package org.palmtop.core

import java.util.Base64
import java.util.zip.CRC32

/**
 * Frames of `palmtop-bench/1`: records as short checksummed ASCII lines that survive logs which cut, prefix, mix and
 * repeat lines. `@PT1 <run> <seq> <i>/<n> <crc32> <payload>`; the checksum covers all that follows the mark but itself.
 */
object Frames {
    const val FRAME_MAX = 900
    const val PAYLOAD_MAX = 848
    const val CHUNKS_MAX = 64
    private const val MARK = "@PT1 "
    private val HEAD = Regex("@PT1 ([0-9a-f]{8}) ([0-9]{1,9}) ([0-9]{1,2})/([0-9]{1,2}) ([0-9a-f]{8}) ")
    private val SLICE = Regex("[A-Za-z0-9_=-]+")

    /** Part [index] (from 0) of the [count] parts of a record. */
    data class Chunk(val run: String, val seq: Int, val index: Int, val count: Int, val payload: String)

    /** Returns the frames of a record's JSON, which is ASCII and holds no mark, without line ends. */
    fun encode(run: String, seq: Int, text: String): List<String> {
        if (text.length <= PAYLOAD_MAX) return listOf(frame(run, seq, "1/1", text))
        val slices = Base64.getUrlEncoder().encodeToString(text.toByteArray(Charsets.US_ASCII)).chunked(PAYLOAD_MAX)
        require(slices.size <= CHUNKS_MAX) { "a record of ${text.length} characters is too long to send" }
        return slices.mapIndexed { index, slice -> frame(run, seq, "${index + 1}/${slices.size}", slice) }
    }

    /** Finds the frames anywhere in a line: behind a logger's prefix, before other text, or one after another. */
    fun scan(line: String): List<Chunk> {
        val starts = generateSequence(line.indexOf(MARK)) { line.indexOf(MARK, it + 1) }.takeWhile { it >= 0 }.toList()
        return starts.mapIndexedNotNull { number, start ->
            val end = starts.getOrElse(number + 1) { line.length }
            chunk(line.substring(start, minOf(end, start + FRAME_MAX)))
        }
    }

    /** Puts the payloads of all parts of a record together to its JSON. */
    fun join(payloads: List<String>): String =
        payloads.singleOrNull() ?: String(Base64.getUrlDecoder().decode(payloads.joinToString("")), Charsets.US_ASCII)

    private fun frame(run: String, seq: Int, part: String, payload: String): String =
        "$MARK$run $seq $part ${crc("$run $seq $part $payload")} $payload"

    private fun crc(text: String): String {
        val crc = CRC32()
        crc.update(text.toByteArray(Charsets.UTF_8))
        return crc.value.toString(16).padStart(8, '0')
    }

    private fun chunk(text: String): Chunk? {
        val head = HEAD.find(text)?.takeIf { it.range.first == 0 } ?: return null
        val (run, seq, index, count, crc) = head.destructured
        if (index.toInt() !in 1..count.toInt() || count.toInt() > CHUNKS_MAX) return null
        val rest = text.substring(head.range.last + 1).trimEnd()
        val payload = payloads(rest, count == "1").firstOrNull { crc("$run $seq $index/$count $it") == crc }
        return payload?.let { Chunk(run, seq.toInt(), index.toInt() - 1, count.toInt(), it) }
    }

    /** What the payload may be, since text of another writer may follow it on the same line. */
    private fun payloads(rest: String, whole: Boolean): Sequence<String> {
        if (!whole) return SLICE.find(rest)?.takeIf { it.range.first == 0 }?.let { sequenceOf(it.value) } ?: emptySequence()
        return rest.indices.reversed().asSequence().filter { rest[it] == '}' }.map { rest.substring(0, it + 1) }
    }
}
