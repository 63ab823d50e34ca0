// SPDX-License-Identifier: 0BSD
package org.palmtop.core

import java.io.File
import java.io.InputStream
import java.security.MessageDigest

/** SHA-256 as lower-case hex, of streams and of series of latencies. */
object Hash {
    private const val BUFFER_BYTES = 1 shl 16

    fun sha256(bytes: ByteArray): String = hex(digest().digest(bytes))

    fun sha256(file: File): String = file.inputStream().use(::sha256)

    fun sha256(stream: InputStream): String {
        val digest = digest()
        val buffer = ByteArray(BUFFER_BYTES)
        while (true) {
            val count = stream.read(buffer)
            if (count < 0) return hex(digest.digest())
            digest.update(buffer, 0, count)
        }
    }

    /** The checksum of latencies as the record `result` carries it: little-endian 64-bit integers in order. */
    fun sha256(latenciesNs: LongArray): String {
        val digest = digest()
        val bytes = ByteArray(Long.SIZE_BYTES)
        for (value in latenciesNs) {
            for (index in bytes.indices) bytes[index] = (value shr (8 * index)).toByte()
            digest.update(bytes)
        }
        return hex(digest.digest())
    }

    fun digest(): MessageDigest = MessageDigest.getInstance("SHA-256")

    fun hex(bytes: ByteArray): String {
        val digits = "0123456789abcdef"
        return buildString(2 * bytes.size) {
            for (byte in bytes) append(digits[(byte.toInt() shr 4) and 15]).append(digits[byte.toInt() and 15])
        }
    }
}
