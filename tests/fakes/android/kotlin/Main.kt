package palmtop.fakes

import android.app.Application
import android.app.Instrumentation
import android.content.Context
import android.os.Bundle
import java.io.ByteArrayOutputStream
import java.io.File
import java.io.PrintStream
import java.lang.reflect.InvocationTargetException
import java.util.Base64
import org.palmtop.core.Frames
import org.palmtop.core.Json
import org.palmtop.core.ModelSpec
import org.palmtop.core.Pixels
import org.palmtop.core.Preprocess
import org.palmtop.core.TensorSpec

/** The far side of `am` and of the user's finger: what the tests start instead of a phone. */
fun main(arguments: Array<String>) {
    if (arguments.first() == "batch") batch(File(arguments[1])) else answer(arguments.toList())
    System.out.flush()
    Runtime.getRuntime().exit(0)
}

/** Runs many commands, a list of lists of words, in one JVM; prints what each printed as one line of JSON. */
private fun batch(file: File) {
    val stdout = System.out
    for (command in Json.parse(file.readText()) as List<*>) {
        val printed = ByteArrayOutputStream()
        System.setOut(PrintStream(printed, true, "UTF-8"))
        val failure = runCatching { answer((command as List<*>).map { it as String }) }.exceptionOrNull()
        System.setOut(stdout)
        println(Json.write(mapOf("printed" to printed.toString("UTF-8"), "failure" to failure?.stackTraceToString())))
    }
}

private fun answer(arguments: List<String>) {
    val rest = arguments.drop(1)
    when (arguments.first()) {
        "instrument" -> instrument(rest)
        "junit" -> junit(rest)
        "demo" -> demo(rest)
        "pictures" -> pictures(File(rest[0]))
        "frames" -> frames(File(rest[0]))
        "json" -> println(Json.write(Json.parse(File(rest[0]).readText())))
        "damaged" -> println(damaged(File(rest[0])))
        "conformance" -> println(Json.write(conformance(File(rest[0]))))
        "tflite" -> tflite(File(rest[0]))
        "texts" -> println(Json.write(Class.forName(rest[0]).getField("ALL").get(null) as List<*>))
        else -> error("unknown: ${arguments.first()}")
    }
}

/** `instrument PACKAGE HOME [coarse|micro|milli] --palmtop=ORDER`: the order as `am instrument -e palmtop ORDER` gives it. */
private fun instrument(arguments: List<String>) {
    val (packageName, home) = arguments
    val order = arguments.first { it.startsWith("--palmtop=") }.removePrefix("--palmtop=")
    if ("coarse" in arguments) Meter.keptMs = 30_000
    if ("micro" in arguments || "milli" in arguments) {
        Meter.callUj = 500L // a phone's power also at a desktop's number of calls each second
        Meter.gauge = Gauge(isMilli = "milli" in arguments, isPositive = "milli" in arguments)
    }
    val entry = Class.forName("$packageName.BenchInstrumentation").getConstructor().newInstance() as Instrumentation
    entry.fakeContext = Context().apply {
        fakePackage = packageName
        fakeHome = File(home)
    }
    entry.onCreate(Bundle().apply { putString("palmtop", order) })
    entry.fakeJoin()
}

/** `junit ASSETS CLASS…`: runs every test of the classes and prints one line for each. */
private fun junit(arguments: List<String>) {
    System.setProperty("palmtop.assets", arguments.first())
    androidx.test.platform.app.InstrumentationRegistry.fakeInstrumentation = Instrumentation().apply {
        fakeContext = Context().apply {
            fakeHome = kotlin.io.path.createTempDirectory("palmtop-home-").toFile().also { Runtime.getRuntime().addShutdownHook(Thread { it.deleteRecursively() }) }
            fakeAssets = File(arguments.first())
        }
    }
    for (name in arguments.drop(1)) {
        val kind = Class.forName(name)
        for (test in kind.methods.filter { it.isAnnotationPresent(org.junit.Test::class.java) }.sortedBy { it.name }) {
            val result = try {
                test.invoke(kind.getConstructor().newInstance())
                "pass"
            } catch (error: InvocationTargetException) {
                "FAIL ${error.targetException}".replace("\n", " ")
            }
            println("${kind.simpleName}.${test.name} $result")
        }
    }
}

/** `demo PACKAGE HOME ASSETS PICTURE`: the view model as the screen uses it; prints what the screen would show. */
private fun demo(arguments: List<String>) {
    val (packageName, home, assets, picture) = arguments
    val application = Application().apply {
        fakePackage = packageName
        fakeHome = File(home)
        fakeAssets = File(assets)
    }
    val kind = Class.forName("$packageName.DemoViewModel")
    val model = kind.getConstructor(Application::class.java).newInstance(application)
    fun state(): Any = kind.getMethod("getState").invoke(model).let { it.javaClass.getMethod("getValue").apply { isAccessible = true }.invoke(it) }
    fun settled(): String {
        while (state().toString().contains("isBusy=true")) Thread.sleep(2)
        return state().toString().replace("\n", " ")
    }
    kind.getMethod("check").invoke(model)
    println("check ${settled()}")
    kind.getMethod("answerPicture", android.net.Uri::class.java).invoke(model, android.net.Uri(picture))
    println("picture ${settled()}")
    kind.getMethod("answerSample").invoke(model)
    println("sample ${settled()}")
    kind.getMethod("answerPicture", android.net.Uri::class.java).invoke(model, android.net.Uri("$picture.missing"))
    println("missing ${settled()}")
    kind.getMethod("fakeClear").invoke(model)
}

/** A line is `{"model": …, "width": …, "height": …, "pixels": base64}`; prints the float bits of what it becomes. */
private fun pictures(file: File) {
    for (line in file.readLines()) {
        val case = Json.parseObject(line, "the case")
        val spec = ModelSpec.parse(Json.write(case["model"]))
        val bytes = Base64.getDecoder().decode(case["pixels"] as String)
        val picture = Pixels((case["height"] as Long).toInt(), (case["width"] as Long).toInt(), 3, bytes)
        val tensor = Preprocess(spec.preprocess, checkNotNull(spec.imageInput)).apply(picture)
        println(Json.write(mapOf("shape" to tensor.shape, "bytes" to Base64.getEncoder().encodeToString(tensor.toByteArray()))))
    }
}

/** Reads the lines of a transcript and prints each whole record's number and text; then encodes `FILE.jsonl`, if given. */
private fun frames(file: File) {
    val open = LinkedHashMap<Pair<String, Int>, HashMap<Int, String>>()
    for (line in file.readText().split("\n")) {
        for (chunk in Frames.scan(line)) {
            val parts = open.getOrPut(chunk.run to chunk.seq) { HashMap() }
            parts.putIfAbsent(chunk.index, chunk.payload)
            if (parts.size == chunk.count && parts[-1] == null) {
                val text = Frames.join(List(chunk.count) { parts.getValue(it) })
                println(Json.write(listOf(chunk.run, chunk.seq, text, Json.write(Json.parse(text)))))
                parts[-1] = ""
            }
        }
    }
}

/** Reads a model with bytes changed or cut, many times over, and counts what was refused; any other end is a failure. */
private fun damaged(file: File): Int {
    val whole = file.readBytes()
    val random = java.util.Random(17)
    val copy = File.createTempFile("damaged", ".tflite")
    val refused = (0 until 400).count {
        val bytes = whole.copyOf(if (it % 4 == 0) 8 + random.nextInt(whole.size - 8) else whole.size)
        repeat(1 + random.nextInt(20)) { bytes[8 + random.nextInt(bytes.size - 8)] = random.nextInt().toByte() }
        copy.writeBytes(bytes)
        try {
            org.palmtop.core.TfliteFile.signature(copy)
            false
        } catch (_: IllegalArgumentException) {
            true
        }
    }
    copy.delete()
    return refused
}

private fun tflite(file: File) {
    val signature = org.palmtop.core.TfliteFile.signature(file)
    fun told(specs: List<TensorSpec>) = specs.map { listOf(it.name, it.dtype.word, it.shape, it.quantization?.scale, it.quantization?.zeroPoint) }
    println(Json.write(mapOf("inputs" to told(signature.inputs), "outputs" to told(signature.outputs))))
}
