// The part of ONNX Runtime's Java API that the apps use; behind it the real ONNX Runtime of this host, by a pipe.
package ai.onnxruntime

import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.Optional
import palmtop.fakes.Loaded
import palmtop.fakes.PortFact
import palmtop.fakes.RuntimeFailed
import palmtop.fakes.RuntimeProcess

class OrtException(message: String) : Exception(message)

enum class OnnxJavaType(val word: String) {
    FLOAT("float32"), DOUBLE("float64"), INT8("int8"), INT16("int16"), INT32("int32"), INT64("int64"), BOOL("bool"),
    STRING("string"), UINT8("uint8"), FLOAT16("float16"), BFLOAT16("bfloat16"), UNKNOWN("")
}

interface ValueInfo

class TensorInfo internal constructor(fact: PortFact) : ValueInfo {
    @JvmField val type: OnnxJavaType = OnnxJavaType.entries.first { it.word == fact.dtype }
    val shape: LongArray = LongArray(fact.shape.size) { fact.shape[it].toLong() }
}

class NodeInfo internal constructor(val name: String, val info: ValueInfo)

interface OnnxValue : AutoCloseable

class OnnxTensor private constructor(internal val bytes: ByteBuffer, val info: TensorInfo) : OnnxValue {
    /** A copy in native order, as the runtime returns it. */
    val byteBuffer: ByteBuffer
        get() = ByteBuffer.allocate(bytes.capacity()).also { it.put(bytes.duplicate().also(ByteBuffer::rewind)) }.also(ByteBuffer::rewind)

    internal var isClosed = false

    override fun close() {
        check(!isClosed) { "the tensor is closed already" }
        isClosed = true
    }

    companion object {
        fun createTensor(environment: OrtEnvironment, data: ByteBuffer, shape: LongArray, type: OnnxJavaType): OnnxTensor {
            check(data.isDirect && data.position() == 0 && environment === OrtEnvironment.getEnvironment())
            return OnnxTensor(data, TensorInfo(PortFact("", type.word, shape.map { it.toInt() })))
        }

        internal fun of(fact: PortFact, bytes: ByteArray) = OnnxTensor(ByteBuffer.wrap(bytes).order(ByteOrder.nativeOrder()), TensorInfo(fact))
    }
}

class OrtEnvironment private constructor() {
    val version: String get() = RuntimeProcess.of("onnx").version

    fun setTelemetry(sendTelemetry: Boolean) = check(!sendTelemetry) { "telemetry must be off" }

    fun createSession(modelPath: String, options: OrtSession.SessionOptions): OrtSession = try {
        OrtSession(RuntimeProcess.of("onnx").open(modelPath, options.threads), options)
    } catch (error: RuntimeFailed) {
        throw OrtException(error.message ?: "")
    }

    companion object {
        private val one by lazy {
            check(android.system.Os.fakeVariables["ORT_DISABLE_TELEMETRY"] == "1") { "the library is loaded before telemetry is off" }
            OrtEnvironment()
        }

        fun getEnvironment(): OrtEnvironment = one
    }
}

class OrtSession internal constructor(private val loaded: Loaded, private val options: SessionOptions) : AutoCloseable {
    class SessionOptions : AutoCloseable {
        internal var threads = 0
        internal var isClosed = false

        fun setIntraOpNumThreads(count: Int) { threads = count }

        fun addXnnpack(settings: Map<String, String>) = check(settings.isNotEmpty())

        override fun close() { isClosed = true }
    }

    class Result internal constructor(private val values: Map<String, OnnxValue>) : AutoCloseable {
        fun get(name: String): Optional<OnnxValue> = Optional.ofNullable(values[name])

        override fun close() = values.values.forEach(OnnxValue::close)
    }

    val inputInfo: Map<String, NodeInfo> get() = loaded.inputs.associate { it.name to NodeInfo(it.name, TensorInfo(it)) }
    val outputInfo: Map<String, NodeInfo> get() = loaded.outputs.associate { it.name to NodeInfo(it.name, TensorInfo(it)) }

    fun run(inputs: Map<String, OnnxTensor>): Result {
        check(!options.isClosed) { "options must live as long as the session" }
        val values = loaded.run(
            inputs.mapValues { (_, tensor) ->
                check(!tensor.isClosed) { "the tensor is closed" }
                ByteArray(tensor.bytes.capacity()).also { tensor.bytes.duplicate().get(it) }
            },
        )
        return Result(loaded.outputs.associate { it.name to OnnxTensor.of(it, values.getValue(it.name)) })
    }

    override fun close() = loaded.close()
}
