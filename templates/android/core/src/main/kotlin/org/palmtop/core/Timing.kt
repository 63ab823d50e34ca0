// SPDX-License-Identifier: 0BSD
package org.palmtop.core

import kotlin.math.ceil

/** How the warm-up went; [typicalNs] is the median of its last block. */
class Warmed(val runs: Int, val tookNs: Long, val converged: Boolean, val typicalNs: Double)

/** How the measurement went: all timed runs, of which every [stride]-th was kept; [calls] counts the untimed ones, too. */
class Measured(val runs: Int, val stride: Int, val calls: Int, val tookNs: Long)

/** Latencies on their way out: buffers that exist before the first run, emptied between calls and never inside one. */
class Series(private val say: (firstIndex: Int, differences: LongArray) -> Unit) {
    private val buffer = LongArray(BUFFER)
    private var filled = 0
    private var kept = LongArray(4 * BUFFER)
    private var count = 0

    val latenciesNs: LongArray get() = kept.copyOf(count)

    /** Stores a latency and returns whether the buffer is full. */
    fun keep(latencyNs: Long): Boolean {
        buffer[filled++] = latencyNs
        return filled == BUFFER
    }

    /** Says what is in the buffer, the first of each record as it is and the rest as differences. */
    fun flush() {
        for (start in 0 until filled step RECORD) {
            val end = minOf(start + RECORD, filled)
            say(count + start, LongArray(end - start) { if (it == 0) buffer[start] else buffer[start + it] - buffer[start + it - 1] })
        }
        if (count + filled > kept.size) kept = kept.copyOf(2 * kept.size)
        System.arraycopy(buffer, 0, kept, count, filled)
        count += filled
        filled = 0
    }

    private companion object {
        const val BUFFER = 4096
        const val RECORD = 100
    }
}

/** Warm-up until latency stands still, then the series. Only [call] lies between two clock readings. */
class Timing(private val plan: Plan, private val progress: (phase: String, runs: Int) -> Unit, private val call: () -> Unit) {
    fun timed(): Long {
        val start = System.nanoTime()
        call()
        return System.nanoTime() - start
    }

    /**
     * Runs at least the plan's time and runs, then until the medians of three blocks in a row lie within 1 %, at most
     * to the plan's cap. A block is 20 runs or 50 ms, whichever is longer.
     */
    fun warmUp(): Warmed {
        val start = System.nanoTime()
        val least = start + seconds(plan.warmupMinSeconds)
        val most = start + seconds(plan.warmupMaxSeconds)
        val medians = ArrayList<Double>()
        var runs = 0
        var now = start
        var still = false
        while (now < most && !(still && now >= least && runs >= plan.warmupMinRuns)) {
            val block = ArrayList<Long>()
            val blockEnd = now + BLOCK_NS
            while (now < most && (block.size < BLOCK_RUNS || now < blockEnd)) {
                block.add(timed())
                now = System.nanoTime()
            }
            runs += block.size
            medians.add(Stats.median(block))
            still = block.size >= BLOCK_RUNS && isStill(medians.takeLast(STILL_BLOCKS))
            progress("warmup", runs)
        }
        return Warmed(runs, now - start, still, maxOf(medians.lastOrNull() ?: timed().toDouble(), 1.0))
    }

    /**
     * Times calls until the plan has its runs and its seconds, or its cap is reached. Results go out every 250 ms; the
     * call after that is not timed, so that caches hold the model again. What [look] does falls into these pauses, too,
     * where [lookEveryNs] have passed since the last.
     */
    fun measure(typicalNs: Double, series: Series, lookEveryNs: Long = Long.MAX_VALUE, look: () -> Unit = {}): Measured {
        val stride = maxOf(1, ceil(plan.minSeconds * 1e9 / typicalNs / STORED_MAX).toInt())
        val start = System.nanoTime()
        val enough = start + seconds(plan.minSeconds)
        val most = start + seconds(plan.maxSeconds)
        var now = start
        var flushAt = start + FLUSH_NS
        var looked = start
        var runs = 0
        var untimed = 0
        var latency = 0L
        while (runs == 0 || (now < most && (runs < plan.minRuns.toLong() * stride || now < enough))) {
            val before = System.nanoTime()
            call()
            now = System.nanoTime()
            latency = now - before
            runs++
            val full = runs % stride == 0 && series.keep(latency)
            if (full || now >= flushAt) {
                series.flush()
                progress("measure", runs)
                if (now - looked >= lookEveryNs) {
                    look()
                    looked = System.nanoTime()
                }
                call()
                untimed++
                flushAt = System.nanoTime() + FLUSH_NS
            }
        }
        if (runs < stride) series.keep(latency)
        series.flush()
        return Measured(runs, stride, runs + untimed, now - start)
    }

    /** Calls for [SETTLE_NS], so that caches and clocks are again as the warm-up left them; returns how often. */
    fun settle(): Int {
        val end = System.nanoTime() + SETTLE_NS
        var calls = 0
        do {
            call()
            calls++
        } while (System.nanoTime() < end)
        return calls
    }

    private fun seconds(seconds: Double): Long = (seconds * 1e9).toLong()

    private fun isStill(medians: List<Double>): Boolean =
        medians.size == STILL_BLOCKS && medians.max() <= (1 + STILL) * medians.min()

    private companion object {
        const val BLOCK_RUNS = 20
        const val BLOCK_NS = 50_000_000L
        const val STILL_BLOCKS = 3
        const val STILL = 0.01
        const val STORED_MAX = 16_384
        const val FLUSH_NS = 250_000_000L
        const val SETTLE_NS = 50_000_000L
    }
}
