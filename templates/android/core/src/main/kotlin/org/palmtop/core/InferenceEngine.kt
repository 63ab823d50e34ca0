// SPDX-License-Identifier: 0BSD
package org.palmtop.core

/** Where a runtime says that it executes a model. */
data class Placement(
    val requested: String,
    val delegatedNodes: Int,
    val totalNodes: Int,
    val partitions: Int,
    val source: String,
    val fallback: Boolean,
)

/** A word of the protocol for why a session cannot go on. */
enum class ErrorCode(val word: String) {
    BAD_ARGS("bad_args"),
    MODEL_MISSING("model_missing"),
    MODEL_HASH("model_hash"),
    LOAD_FAILED("load_failed"),
    ACCELERATOR_UNAVAILABLE("accelerator_unavailable"),
    RUN_FAILED("run_failed"),
    CHECK_FAILED("check_failed"),
    OUT_OF_MEMORY("oom"),
}

/** What ends a session: said to the host as the record `error`. */
class BenchException(val code: ErrorCode, message: String, cause: Throwable? = null) : Exception(message, cause)

/** A model loaded in a runtime. Its buffers are made once: [write] fills the inputs, [run] executes, [read] copies out. */
interface InferenceEngine : AutoCloseable {
    val inputs: List<TensorSpec>
    val outputs: List<TensorSpec>

    /** Where the model is executed, or null where the runtime does not tell. */
    val placement: Placement?

    fun write(feeds: Map<String, Tensor>)

    /** Executes once. Benchmarks time this call and nothing else. */
    fun run()

    fun read(): Map<String, Tensor>

    /** Does the three steps one after another. */
    fun infer(feeds: Map<String, Tensor>): Map<String, Tensor> {
        write(feeds)
        run()
        return read()
    }
}

/** How to load a model. [threads] 0 is the runtime's default. */
data class EngineOptions(val accelerator: String = "cpu", val threads: Int = 0)

/** Loads models of one runtime. */
interface EngineFactory {
    /** The name that orders and builds use: `tflite` or `onnx`. */
    val target: String

    /** The library and its version. */
    val runtime: String
    val runtimeVersion: String

    /** Accelerators that can be asked for, `cpu` first. */
    val accelerators: List<String>

    /** Loads the library itself, so that the first timed load holds the model alone. */
    fun loadLibrary()

    /** @throws BenchException with [ErrorCode.LOAD_FAILED] or [ErrorCode.ACCELERATOR_UNAVAILABLE]. */
    fun open(modelPath: String, options: EngineOptions): InferenceEngine
}

/** Holds feeds against what a model takes; what differs is named. */
fun checkFeeds(feeds: Map<String, Tensor>, inputs: List<TensorSpec>) {
    val unknown = feeds.keys - inputs.map { it.name }.toSet()
    require(unknown.isEmpty()) { "the model has no input '${unknown.first()}'" }
    for (spec in inputs) {
        val tensor = requireNotNull(feeds[spec.name]) { "the input '${spec.name}' has no values" }
        require(tensor.dtype == spec.dtype && spec.fits(tensor.shape)) {
            "the input '${spec.name}' wants ${spec.dtype.word} ${spec.shape}, not ${tensor.dtype.word} ${tensor.shape}"
        }
    }
}
