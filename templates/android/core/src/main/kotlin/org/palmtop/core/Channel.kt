// SPDX-License-Identifier: 0BSD
package org.palmtop.core

import java.io.File
import java.io.FileOutputStream
import java.util.Timer
import kotlin.concurrent.scheduleAtFixedRate

/** Where records go: framed lines while the session lasts, and the result file, which is the truth. Thread-safe. */
class Channel(private val run: String, out: File, private val live: (String) -> Unit) {
    private val file: FileOutputStream
    private val digest = Hash.digest()
    private val startedNs = System.nanoTime()
    private var seq = 0
    private var lastBeatNs = startedNs
    private var phase = "start"
    private var done = 0
    private var total = 0
    private var beating: Timer? = null

    init {
        if (!out.createNewFile()) throw BenchException(ErrorCode.BAD_ARGS, "the result file $out exists already")
        file = FileOutputStream(out)
    }

    /** Writes a record to the file, then sends it live. A field that is null is left out. */
    @Synchronized
    fun say(kind: String, fields: Map<String, Any?>) {
        val record = linkedMapOf<String, Any?>("t" to kind, "s" to seq, "ns" to System.nanoTime() - startedNs)
        fields.filterTo(record) { it.value != null }
        val text = Json.write(record)
        val line = "$text\n".toByteArray(Charsets.US_ASCII)
        file.write(line)
        file.flush()
        if (kind !in QUIET) file.fd.sync()
        digest.update(line)
        Frames.encode(run, seq, text).forEach(live)
        seq++
    }

    fun say(kind: String, vararg fields: Pair<String, Any?>) = say(kind, linkedMapOf(*fields))

    fun warn(code: String, message: String) = say("warn", "code" to code, "msg" to clipped(message), "where" to phase)

    /** Gives signs of life from now on, also while a long native call does not return. */
    fun startBeating() {
        beating = Timer("palmtop-beat", true).also { timer ->
            timer.scheduleAtFixedRate(WATCH_MS, WATCH_MS) { beatIfDue(BEAT_NS + WATCH_MS * 1_000_000) }
        }
    }

    /** Remembers how far the work is, and says a beat when one is due. [total] 0: nobody knows. */
    fun progress(phase: String, done: Int, total: Int) {
        synchronized(this) {
            this.phase = phase
            this.done = done
            this.total = total
        }
        beatIfDue(BEAT_NS)
    }

    @Synchronized
    private fun beatIfDue(afterNs: Long) {
        if (beating == null || System.nanoTime() - lastBeatNs < afterNs) return
        lastBeatNs = System.nanoTime()
        say("beat", "phase" to phase, "done" to done, "total" to total)
    }

    /** Says what went wrong; only [close] follows. */
    fun fail(code: ErrorCode, message: String) =
        say("error", "code" to code.word, "msg" to clipped(message), "where" to phase, "fatal" to true)

    /** Says `bye`; nothing can be said after it. */
    @Synchronized
    fun close(isOk: Boolean) {
        beating?.cancel()
        beating = null
        val sha256 = Hash.hex((digest.clone() as java.security.MessageDigest).digest())
        say("bye", "exit" to (if (isOk) "ok" else "error"), "records" to seq, "sha256" to sha256)
        file.close()
    }

    private fun clipped(message: String) = message.split(Regex("\\s+")).joinToString(" ").take(MESSAGE_MAX)

    private companion object {
        const val BEAT_NS = 2_000_000_000L
        const val WATCH_MS = 1000L
        const val MESSAGE_MAX = 400
        // kinds that come while the model is being timed are not forced to the disk one by one
        val QUIET = setOf("samples", "beat")
    }
}
