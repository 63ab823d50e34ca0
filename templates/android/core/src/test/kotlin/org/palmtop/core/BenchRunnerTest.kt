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
        accelerator: String = "cpu",
        content: String = "model",
        device: Desk = Desk(),
        idleSeconds: Double = 0.0,
    ): Served {
        val folder = File.createTempFile("bench", "").apply { delete() }
        val model = File.createTempFile("model", "").apply { writeText("model") }
        val plan = Plan(0.0, 1, 0.2, 250, 0.01, 1.0, 1, accelerator, 0, idleSeconds)
        val sha256 = Hash.sha256(content.toByteArray())
        val frames = ArrayList<String>()
        val order = Order("00c0ffee", target, model, sha256, null, File(folder, "run.jsonl"), plan)
        val isOk = BenchRunner.serve(order, Doubling(), device, frames::add)
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
            val records = serve(device = Desk(listOf(meters)), idleSeconds = 0.05).records
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
