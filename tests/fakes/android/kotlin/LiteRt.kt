// The part of LiteRT's Kotlin API that the apps use; behind it the real LiteRT of this host, reached through a pipe.
package com.google.ai.edge.litert

import palmtop.fakes.Loaded
import palmtop.fakes.RuntimeFailed
import palmtop.fakes.RuntimeProcess

enum class Accelerator { NONE, CPU, GPU, NPU }

class LiteRtException(message: String) : RuntimeException(message)

class Environment private constructor() : AutoCloseable {
    fun getAvailableAccelerators(): Set<Accelerator> = setOf(Accelerator.CPU).also { RuntimeProcess.of("tflite") }

    override fun close() = Unit

    enum class Option { CompilerPluginLibraryDir, DispatchLibraryDir }

    companion object {
        fun create(options: Map<Option, String> = mapOf()): Environment = Environment().also { check(options.isEmpty()) }
    }
}

class TensorBuffer internal constructor(internal val bytes: ByteArray) : AutoCloseable {
    private val view = java.nio.ByteBuffer.wrap(bytes).order(java.nio.ByteOrder.LITTLE_ENDIAN)

    fun writeInt(data: IntArray) { view.duplicate().order(view.order()).asIntBuffer().put(data) }

    fun writeFloat(data: FloatArray) { view.duplicate().order(view.order()).asFloatBuffer().put(data) }

    fun writeInt8(data: ByteArray) { view.duplicate().put(data) }

    fun writeBoolean(data: BooleanArray) = data.forEachIndexed { index, value -> bytes[index] = if (value) 1 else 0 }

    fun writeLong(data: LongArray) { view.duplicate().order(view.order()).asLongBuffer().put(data) }

    fun readInt(): IntArray = IntArray(bytes.size / 4).also { view.duplicate().order(view.order()).asIntBuffer().get(it) }

    fun readFloat(): FloatArray = FloatArray(bytes.size / 4).also { view.duplicate().order(view.order()).asFloatBuffer().get(it) }

    fun readInt8(): ByteArray = bytes.copyOf()

    fun readBoolean(): BooleanArray = BooleanArray(bytes.size) { bytes[it] != 0.toByte() }

    fun readLong(): LongArray = LongArray(bytes.size / 8).also { view.duplicate().order(view.order()).asLongBuffer().get(it) }

    override fun close() = Unit
}

class CompiledModel private constructor(private val loaded: Loaded) : AutoCloseable {
    data class CpuOptions(val numThreads: Int? = null, val xnnPackFlags: Int? = null, val xnnPackWeightCachePath: String? = null)

    class Options(val accelerators: Set<Accelerator>) {
        constructor(vararg accelerators: Accelerator) : this(setOf(*accelerators))

        var cpuOptions: CpuOptions? = null
    }

    fun createInputBuffer(inputName: String, signature: String? = null): TensorBuffer = buffer(inputName, signature, loaded.inputs)

    fun createOutputBuffer(outputName: String, signature: String? = null): TensorBuffer = buffer(outputName, signature, loaded.outputs)

    private fun buffer(name: String, signature: String?, ports: List<palmtop.fakes.PortFact>): TensorBuffer {
        check(signature == null)
        val port = ports.firstOrNull { it.name == name } ?: throw LiteRtException("Failed to create input buffer.")
        return TensorBuffer(ByteArray(port.bytes))
    }

    fun run(inputs: Map<String, TensorBuffer>, outputs: Map<String, TensorBuffer>, signature: String? = null) {
        check(signature == null)
        val values = loaded.run(inputs.mapValues { it.value.bytes })
        for ((name, buffer) in outputs) values.getValue(name).copyInto(buffer.bytes)
    }

    override fun close() = loaded.close()

    companion object {
        fun create(filePath: String, options: Options, optionalEnv: Environment? = null): CompiledModel {
            checkNotNull(optionalEnv)
            check(options.accelerators == setOf(Accelerator.CPU)) { "this host has a CPU only" }
            try {
                return CompiledModel(RuntimeProcess.of("tflite").open(filePath, options.cpuOptions?.numThreads ?: 0))
            } catch (error: RuntimeFailed) {
                throw LiteRtException(error.message ?: "")
            }
        }
    }
}
