// SPDX-License-Identifier: 0BSD
package org.palmtop.core

import java.io.File
import java.util.Random

/**
 * One session, phase by phase: idle, load cold, parity, load warm, first, warm-up, measure; each told as it ends.
 *
 * `idle` is a rest before anything is loaded, where the plan asks for one and a meter can count what it takes.
 * `load_cold` is the first load of the process, the runtime's library being loaded before it. Parity runs on that first
 * session. `load_warm` loads the file again after the first session was closed, and `first` is the first inference of
 * the second. What is timed is [InferenceEngine.run] with filled buffers: neither preprocessing nor copies are in it.
 */
class BenchRunner(
    private val order: Order,
    private val engines: EngineFactory,
    private val device: DeviceState,
    private val channel: Channel,
    private val readEveryNs: Long = READ_EVERY_NS,
) {
    private var phase = "start"
    private var isMetered = false
    private var isFollowed = false

    /** Measures and tells; returns whether all went well. Whatever goes wrong is told, and `bye` is always said. */
    fun serve(): Boolean {
        val failure = runCatching { session() }.exceptionOrNull()
        if (failure != null) {
            // the words of the protocol for a failure depend on the phase that it came in
            channel.fail(code(failure), listOfNotNull(failure::class.simpleName, failure.message).joinToString(": "))
        }
        channel.close(failure == null)
        return failure == null
    }

    private fun session() {
        if (order.target != engines.target) {
            throw BenchException(ErrorCode.BAD_ARGS, "this app executes ${engines.target}, not ${order.target}")
        }
        engines.loadLibrary()
        val found = if (order.model.isFile) Hash.sha256(order.model) else ""
        hello(found)
        channel.startBeating()
        checkModel(found)
        if (order.plan.accelerator !in engines.accelerators) {
            throw BenchException(
                ErrorCode.ACCELERATOR_UNAVAILABLE,
                "this app offers ${engines.accelerators}, not '${order.plan.accelerator}'",
            )
        }
        val golden = order.golden?.let(Golden::readNpz)
        idle()
        loadAndCheck(golden)
        reload(golden).use(::time)
    }

    private fun hello(modelSha256: String) {
        val fields = linkedMapOf<String, Any?>("proto" to PROTO, "run" to order.run)
        fields += device.identity()
        fields["runtime"] = engines.runtime
        fields["runtime_ver"] = engines.runtimeVersion
        fields["model_sha256"] = modelSha256
        fields["caps"] = listOf("parity", "stride")
        channel.say("hello", fields)
    }

    private fun checkModel(found: String) {
        if (found.isEmpty()) throw BenchException(ErrorCode.MODEL_MISSING, "there is no ${order.model.name}, or it cannot be read")
        if (found != order.modelSha256) {
            throw BenchException(ErrorCode.MODEL_HASH, "the model's sha256 is $found, not ${order.modelSha256}")
        }
    }

    /** Rests for the plan's time between a first and a last reading of the meters, with one about each second between. */
    private fun idle() {
        val meters = if (order.plan.idleSeconds > 0) device.power() else null
        isMetered = canCount(meters)
        if (!isMetered) return
        isFollowed = mustBeFollowed(meters)
        phase("idle") { end ->
            power()
            val start = System.nanoTime()
            val until = start + (order.plan.idleSeconds * 1e9).toLong()
            var left = until - System.nanoTime()
            while (left > 0) {
                // the last pause takes what would be too little for two, so that readings are never closer together
                Thread.sleep((if (left < 2 * readEveryNs) left else readEveryNs) / 1_000_000 + 1)
                power()
                left = until - System.nanoTime()
            }
            end["took_ns"] = System.nanoTime() - start
        }
    }

    /** Power monitors count on a charger, too; a battery counts only while nothing but it carries the load. */
    private fun canCount(meters: Map<String, Any?>?): Boolean =
        meters != null && (!(meters["energy_uws"] as Map<*, *>?).isNullOrEmpty() || meters["status"] == DISCHARGING)

    /** Monitors and counters add up by themselves, but of a current only what was seen is known. */
    private fun mustBeFollowed(meters: Map<String, Any?>?): Boolean =
        meters != null && (meters["energy_uws"] as Map<*, *>?).isNullOrEmpty() && meters["current_raw"] != null

    private fun loadAndCheck(golden: Golden?) {
        if (!device.resetPeak()) channel.warn("peak_not_reset", "the peak memory counts from the start of the process")
        memory("before_load")
        load("load_cold").use { engine ->
            memory("after_load")
            engine.placement?.let(::place)
            phase("parity") { if (golden != null) parity(engine, golden) }
        }
        device.resetPeak()
    }

    private fun load(name: String): InferenceEngine = phase(name) { end ->
        val options = EngineOptions(order.plan.accelerator, order.plan.threads)
        val start = System.nanoTime()
        engines.open(order.model.path, options).also { end["took_ns"] = System.nanoTime() - start }
    }

    private fun place(placement: Placement) = channel.say(
        "place",
        "requested" to placement.requested,
        "delegated_nodes" to placement.delegatedNodes,
        "total_nodes" to placement.totalNodes,
        "partitions" to placement.partitions,
        "source" to placement.source,
        "fallback" to placement.fallback,
    )

    private fun parity(engine: InferenceEngine, golden: Golden) {
        val distances = Parity.check(engine, golden) { channel.progress("parity", it, golden.samples.size) }
        distances.entries.forEachIndexed { index, (name, distance) ->
            channel.say(
                "parity",
                "output_index" to index,
                "output" to name,
                "max_abs" to distance.maxAbs,
                "cos" to distance.cosine,
                "top1" to distance.top1,
                "n" to distance.samples,
            )
        }
    }

    private fun reload(golden: Golden?): InferenceEngine {
        val engine = load("load_warm")
        if (golden == null) channel.warn("random_inputs", "no golden samples: timed on seeded random inputs")
        engine.write(golden?.samples?.first()?.inputs ?: randomFeeds(engine.inputs))
        phase("first") { end -> end["took_ns"] = timing(engine).timed() }
        return engine
    }

    private fun timing(engine: InferenceEngine) = Timing(order.plan, { name, runs -> channel.progress(name, runs, 0) }, engine::run)

    /** Floats in [0, 1), and zeros for the rest: they are valid as indices of any table. */
    private fun randomFeeds(inputs: List<TensorSpec>): Map<String, Tensor> {
        val random = Random(order.plan.seed)
        return inputs.associate { spec ->
            val tensor = Tensor.zeros(spec.dtype, spec.fixedShape)
            if (spec.dtype.isFloat) for (index in 0 until tensor.size) tensor[index] = random.nextFloat().toDouble()
            spec.name to tensor
        }
    }

    private fun time(engine: InferenceEngine) {
        System.gc()
        val timing = timing(engine)
        val warmed = phase("warmup") { end ->
            timing.warmUp().also {
                end["took_ns"] = it.tookNs
                end["runs"] = it.runs
                end["converged"] = it.converged
            }
        }
        environment("start")
        val series = Series { first, steps -> channel.say("samples", "phase" to "measure", "first_index" to first, "dns" to steps) }
        val measured = phase("measure") { end ->
            if (isMetered) power()
            val before = if (isMetered) timing.settle() else 0
            // each reading is followed by one of the calls that are not timed and yet counted
            timing.measure(warmed.typicalNs, series, if (isFollowed) readEveryNs else Long.MAX_VALUE, ::power).also {
                if (isMetered) power()
                end["took_ns"] = it.tookNs
                end["runs"] = it.runs
                end["calls"] = before + it.calls
            }
        }
        environment("end")
        memory("end")
        if (order.plan.idleSeconds > 0) device.meterFault?.let { channel.warn("power_monitors_unused", it) }
        channel.say("result", Stats.summary(series.latenciesNs) + mapOf("runs" to measured.runs, "stride" to measured.stride))
    }

    private fun environment(at: String) {
        channel.say("env", mapOf("at" to at) + device.environment())
        device.heat()?.let { channel.say("therm", it) }
    }

    /** Tells what the meters say now; never while a call is timed. */
    private fun power() {
        device.power()?.let { channel.say("power", it) }
    }

    private fun memory(at: String) = channel.say("mem", mapOf("at" to at) + device.memory())

    /** Tells both edges of a phase; what the block puts into the map that it gets is told with the second. */
    private fun <T> phase(name: String, block: (MutableMap<String, Any?>) -> T): T {
        phase = name
        channel.say("phase", "name" to name, "edge" to "begin")
        channel.progress(name, 0, 0)
        val end = linkedMapOf<String, Any?>("name" to name, "edge" to "end")
        val value = block(end)
        channel.say("phase", end)
        return value
    }

    private fun code(error: Throwable): ErrorCode = when {
        error is BenchException -> error.code
        error is OutOfMemoryError -> ErrorCode.OUT_OF_MEMORY
        phase.startsWith("load") -> ErrorCode.LOAD_FAILED
        phase == "parity" -> ErrorCode.CHECK_FAILED
        else -> ErrorCode.RUN_FAILED
    }

    companion object {
        const val PROTO = "1.0"
        private const val READ_EVERY_NS = 1_000_000_000L
        private const val DISCHARGING = 3

        /** Serves an order; the folder of its result file is made. */
        fun serve(order: Order, engines: EngineFactory, device: DeviceState, live: (String) -> Unit): Boolean {
            val folder: File? = order.out.parentFile
            if (folder != null && !folder.isDirectory && !folder.mkdirs()) {
                throw BenchException(ErrorCode.BAD_ARGS, "the folder $folder cannot be made")
            }
            return BenchRunner(order, engines, device, Channel(order.run, order.out, live)).serve()
        }
    }
}
