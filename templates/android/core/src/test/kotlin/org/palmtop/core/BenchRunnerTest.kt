// SPDX-License-Identifier: 0BSD
package org.palmtop.core

import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

class BenchRunnerTest {
    private class Doubling : EngineFactory {
        override val target = "twice"
        override val runtime = "none"
        override val runtimeVersion = "0"
        override val accelerators = listOf("cpu")

        override fun loadLibrary() = Unit

        override fun open(modelPath: String, options: EngineOptions): InferenceEngine = object : InferenceEngine {
            override val inputs = listOf(TensorSpec("x", DType.FLOAT32, listOf(1, 2)))
            override val outputs = listOf(TensorSpec("y", DType.FLOAT32, listOf(1, 2)))
            override val placement = Placement("cpu", 0, 1, 1, "api", false)
            private var x = FloatArray(2)
            private var y = FloatArray(2)

            override fun write(feeds: Map<String, Tensor>) {
                checkFeeds(feeds, inputs)
                x = feeds.getValue("x").toFloatArray()
            }

            override fun run() {
                y = FloatArray(2) { 2 * x[it] }
            }

            override fun read() = mapOf("y" to Tensor.ofFloats(y, listOf(1, 2)))

            override fun close() = Unit
        }
    }

    private class Desk(private val meters: List<Map<String, Any?>?> = listOf(null)) : DeviceState {
        private var asked = 0
        override fun identity() = mapOf(
            "app" to "test", "app_ver" to "0", "os" to "none", "device" to "none", "pid" to 1, "page_size" to 4096, "clock" to "none",
        )

        override fun memory() = mapOf("rss_kb" to 1, "peak_kb" to 2)

        override fun resetPeak() = false

        override fun environment() = mapOf("thermal" to null)

        override fun heat(): Map<String, Any?>? = null

        override fun power(): Map<String, Any?>? = meters[asked++ % meters.size]

        override val meterFault = "kept for 30 s"
    }

    private class Served(val isOk: Boolean, val records: List<Map<String, Any?>>)

    private fun serve(
        target: String = "twice",
        leastSeconds: Double = 0.01,
        accelerator: String = "cpu",
        content: String = "model",
        device: Desk = Desk(),
        idleSeconds: Double = 0.0,
        readEveryNs: Long = 1_000_000_000L,
    ): Served {
        val folder = File.createTempFile("bench", "").apply { delete() }
        val model = File.createTempFile("model", "").apply { writeText("model") }
        val plan = Plan(0.0, 1, 0.2, 250, leastSeconds, 3.0, 1, accelerator, 0, idleSeconds)
        val sha256 = Hash.sha256(content.toByteArray())
        val frames = ArrayList<String>()
        val order = Order("00c0ffee", target, model, sha256, null, File(folder, "run.jsonl"), plan)
        check(folder.mkdirs())
        val channel = Channel(order.run, order.out, frames::add)
        val isOk = BenchRunner(order, Doubling(), device, channel, readEveryNs).serve()
        val lines = File(folder, "run.jsonl").readLines()
        val live = frames.flatMap(Frames::scan).groupBy { it.seq }.toSortedMap().values.map { Frames.join(it.map(Frames.Chunk::payload)) }
        assertEquals(lines, live)
        folder.deleteRecursively()
        model.delete()
        return Served(isOk, lines.map { Json.parseObject(it, "a record") })
    }

    @Test
    fun aSessionTellsEveryPhaseInOrder() {
        val served = serve()
        val records = served.records
        assertTrue(served.isOk)
        assertEquals((0L until records.size).toList(), records.map { it["s"] })
        val phases = records.filter { it["t"] == "phase" && it["edge"] == "end" }.map { it["name"] }
        assertEquals(listOf("load_cold", "parity", "load_warm", "first", "warmup", "measure"), phases)
        assertEquals(listOf("hello", "bye"), listOf(records.first()["t"], records.last()["t"]))
        assertEquals(listOf("peak_not_reset", "random_inputs"), records.filter { it["t"] == "warn" }.map { it["code"] })
    }

    private fun powers(records: List<Map<String, Any?>>, phase: String): List<Map<String, Any?>> {
        fun edge(edge: String) = records.indexOfFirst { it["t"] == "phase" && it["name"] == phase && it["edge"] == edge }
        return records.subList(maxOf(edge("begin"), 0), maxOf(edge("end"), 0)).filter { it["t"] == "power" }
    }

    @Test
    fun metersThatCanCountAreReadAtBothEdgesOfRestAndWork() {
        for (meters in listOf(mapOf("energy_uws" to mapOf("rail" to 1L), "status" to 2), mapOf("current_raw" to 7, "status" to 3))) {
            // however slow the machine, no reading falls due between the edges
            val records = serve(device = Desk(listOf(meters)), idleSeconds = 0.05, readEveryNs = 3_600_000_000_000L).records
            val begins = records.filter { it["edge"] == "begin" }.map { it["name"] }
            assertEquals(listOf("idle", "load_cold"), begins.take(2))
            assertEquals(listOf(2, 2), listOf("idle", "measure").map { powers(records, it).size })
            assertEquals(4, records.count { it["t"] == "power" })
            val end = records.single { it["t"] == "phase" && it["name"] == "measure" && it["edge"] == "end" }
            assertTrue("${end["calls"]} ${end["runs"]}", end["calls"] as Long > end["runs"] as Long)
            assertEquals(listOf("power_monitors_unused"), records.filter { it["t"] == "warn" }.map { it["code"] }.drop(2))
        }
    }

    @Test
    fun aCurrentIsFollowedInPausesAndWhatAddsUpIsLeftAlone() {
        val current = mapOf("current_raw" to 7, "status" to 3)
        val counted = mapOf("current_raw" to 7, "status" to 3, "energy_uws" to mapOf("rail" to 1L))
        val sizes = listOf(current, counted, mapOf("counter_raw" to 7, "status" to 3)).map { meters ->
            val desk = Desk(listOf(meters))
            val served = serve(device = desk, idleSeconds = 0.05, readEveryNs = 20_000_000L, leastSeconds = 0.6)
            val records = served.records
            assertTrue(served.isOk)
            val ends = records.filter { it["t"] == "phase" && it["edge"] == "end" }
            val end = ends.single { it["name"] == "measure" }
            val told = powers(records, "measure")
            // a pause has one call that is not timed, and settling before the series at least one
            assertTrue("$end", end["calls"] as Long - end["runs"] as Long >= told.size - 1)
            // every reading but those at the edges follows a flush
            val kinds = records.map { it["t"] }
            val at = records.indices.filter { records[it] in told }.drop(1).dropLast(1)
            assertTrue("$at", at.all { index -> kinds.take(index).last { it != "beat" } == "samples" })
            told.size
        }
        assertTrue("$sizes", sizes[0] in 3..30)  // a busy machine measures for longer, and reads more often
        assertEquals(listOf(2, 2), sizes.drop(1))
    }

    @Test
    fun nobodyRestsWhereNothingCanCount() {
        val onCharger = Desk(listOf(mapOf("current_raw" to 7, "status" to 2)))
        for (served in listOf(serve(device = onCharger, idleSeconds = 60.0), serve(idleSeconds = 60.0), serve(device = onCharger))) {
            assertTrue(served.isOk)
            assertEquals(emptyList<Any>(), served.records.filter { it["t"] == "power" || it["name"] == "idle" })
        }
    }

    @Test
    fun theResultCoversAllLatencies() {
        val records = serve().records
        val told = records.filter { it["t"] == "samples" }.flatMap { record ->
            (record["dns"] as List<*>).map { it as Long }.runningReduce(Long::plus)
        }
        val result = records.single { it["t"] == "result" }
        assertEquals(told.size.toLong(), result["n"])
        assertEquals(Hash.sha256(told.toLongArray()), result["samples_sha256"])
        assertEquals(Stats.percentile(told.sorted().toLongArray(), 50), result["p50"])
    }

    @Test
    fun whatCannotBeMeasuredIsSaid() {
        val refused = mapOf(
            serve(target = "other") to "bad_args",
            serve(accelerator = "npu") to "accelerator_unavailable",
            serve(content = "another") to "model_hash",
        )
        for ((outcome, code) in refused) {
            assertEquals(false, outcome.isOk)
            assertEquals(code, outcome.records.single { it["t"] == "error" }["code"])
            assertEquals("error", outcome.records.last()["exit"])
        }
    }
}
