package palmtop.fakes

import java.io.DataInputStream
import java.io.DataOutputStream
import org.palmtop.core.DType
import org.palmtop.core.Json

/** What a runtime refuses, in its own words. */
class RuntimeFailed(message: String) : Exception(message)

class PortFact(val name: String, val dtype: String, val shape: List<Int>) {
    val bytes: Int get() = shape.fold(DType.of(dtype).bytes) { product, axis -> product * axis }
}

/** A real runtime in a process of its own (`runtime_server.py`): one line of JSON a request, tensors as bytes behind it. */
class RuntimeProcess private constructor(target: String) {
    private val child = ProcessBuilder(System.getenv("PALMTOP_FAKE_PYTHON"), System.getenv("PALMTOP_FAKE_SERVER"), target)
        .redirectError(ProcessBuilder.Redirect.INHERIT).start()
    private val toChild = DataOutputStream(child.outputStream.buffered())
    private val fromChild = DataInputStream(child.inputStream.buffered())
    val version: String = answer()["version"] as String

    init {
        Runtime.getRuntime().addShutdownHook(Thread { child.destroy() })
    }

    fun open(path: String, threads: Int): Loaded {
        ask(mapOf("do" to "open", "path" to path, "threads" to threads), emptyList())
        val told = answer()
        return Loaded(this, (told["id"] as Long).toInt(), ports(told["inputs"]), ports(told["outputs"]))
    }

    private fun ports(plain: Any?): List<PortFact> = (plain as List<*>).map { port ->
        val (name, dtype, shape) = port as List<*>
        PortFact(name as String, dtype as String, (shape as List<*>).map { (it as Long).toInt() })
    }

    fun ask(request: Map<String, Any?>, tensors: List<ByteArray>) {
        toChild.write((Json.write(request) + "\n").toByteArray())
        tensors.forEach(toChild::write)
        toChild.flush()
    }

    fun answer(): Map<String, Any?> {
        val line = StringBuilder()
        while (true) {
            val byte = fromChild.read()
            if (byte < 0) throw RuntimeFailed("the runtime's process ended")
            if (byte == '\n'.code) break
            line.append(byte.toChar())
        }
        val told = Json.parseObject(line.toString(), "the answer")
        (told["error"] as String?)?.let { throw RuntimeFailed(it) }
        return told
    }

    fun bytes(count: Int): ByteArray = ByteArray(count).also(fromChild::readFully)

    companion object {
        private val processes = HashMap<String, RuntimeProcess>()

        @Synchronized
        fun of(target: String): RuntimeProcess = processes.getOrPut(target) { RuntimeProcess(target) }
    }
}

class Loaded(private val process: RuntimeProcess, private val id: Int, val inputs: List<PortFact>, val outputs: List<PortFact>) :
    AutoCloseable {
    private var isClosed = false

    fun run(feeds: Map<String, ByteArray>): Map<String, ByteArray> = synchronized(process) {
        check(!isClosed) { "the session is closed" }
        Meter.calls.incrementAndGet()
        val ordered = inputs.map { feeds.getValue(it.name) }
        process.ask(mapOf("do" to "run", "id" to id, "sizes" to ordered.map { it.size }), ordered)
        val sizes = process.answer()["sizes"] as List<*>
        outputs.mapIndexed { index, port -> port.name to process.bytes((sizes[index] as Long).toInt()) }.toMap()
    }

    override fun close() = synchronized(process) {
        check(!isClosed) { "the session is closed already" }
        isClosed = true
        process.ask(mapOf("do" to "close", "id" to id), emptyList())
        process.answer()
        Unit
    }
}
