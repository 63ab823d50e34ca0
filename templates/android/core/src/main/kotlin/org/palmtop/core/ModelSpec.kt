// SPDX-License-Identifier: 0BSD
package org.palmtop.core

/** How a picture becomes a model's input; see `Preprocess`. Empty [mean] and [std] are left out. */
data class PreprocessSpec(
    val resize: Size?,
    val crop: Size?,
    val colour: Colour,
    val scale: Float,
    val mean: List<Float>,
    val std: List<Float>,
    val layout: Layout,
)

/** Height and width in pixels. */
data class Size(val height: Int, val width: Int)

enum class Colour { RGB, BGR, GRAY }

enum class Layout { NHWC, NCHW }

enum class Task { CLASSIFICATION, DETECTION, TEXT, TENSOR }

/** A tensor of the model and what it means: `image`, `tokens`, `scores`, `boxes`, `classes`, `count` or `tensor`. */
data class Port(val spec: TensorSpec, val kind: String, val layout: Layout?)

/** How to read a model's outputs. */
sealed interface PostprocessSpec {
    data class Classification(val output: String, val softmax: Boolean, val most: Int) : PostprocessSpec

    data class Detection(
        val layout: String,
        val boxes: String,
        val scores: String?,
        val classes: String?,
        val count: String?,
        val boxFormat: String,
        val normalised: Boolean,
        val classesFirst: Boolean,
        val scoreMin: Float,
        val iouMax: Float,
        val most: Int,
    ) : PostprocessSpec

    data object Tensors : PostprocessSpec
}

/** How text becomes numbers. [vocabulary] is the name of a file, or null where a token is a byte of UTF-8. */
data class TextSpec(
    val input: String,
    val length: Int,
    val padding: Long,
    val vocabulary: String?,
    val unknown: Long,
    val lowercase: Boolean,
)

/** A tensor of the golden file: [size] bytes at [offset]. */
data class GoldenTensor(val sample: Int, val isInput: Boolean, val spec: TensorSpec, val offset: Int, val size: Int)

/** The largest difference that an output may have; [cosineMin] is null where the cosine is not asked. */
data class Tolerance(val output: String, val maxAbs: Double, val cosineMin: Double?)

data class GoldenSpec(
    val file: String,
    val sha256: String,
    val samples: Int,
    val tensors: List<GoldenTensor>,
    val tolerances: List<Tolerance>,
)

/** A picture and what preprocessing has to make of it. */
data class PreprocessGolden(
    val file: String,
    val width: Int,
    val height: Int,
    val pixelsOffset: Int,
    val tensor: GoldenTensor,
    val maxAbs: Double,
)

data class LabelSpec(val file: String, val languages: List<String>)

/** `model.json`: all that the app knows of its model. The file comes from the build; do not edit it by hand. */
data class ModelSpec(
    val buildId: String,
    val target: String,
    val file: String,
    val sha256: String,
    val sizeBytes: Long,
    val task: Task,
    val inputs: List<Port>,
    val outputs: List<Port>,
    val preprocess: PreprocessSpec,
    val postprocess: PostprocessSpec,
    val text: TextSpec?,
    val labels: LabelSpec?,
    val golden: GoldenSpec?,
    val preprocessGolden: PreprocessGolden?,
) {
    val imageInput: Port? get() = inputs.firstOrNull { it.kind == "image" }

    companion object {
        private const val SCHEMA = 1L

        /** Reads the file's text; keys that are not known are ignored. */
        fun parse(text: String): ModelSpec = ModelReader(Json.parseObject(text, "model.json")).read()

        internal fun checkSchema(schema: Long) {
            if (schema != SCHEMA) throw JsonException("model.json is of schema $schema; this app reads $SCHEMA")
        }
    }
}

private class ModelReader(private val plain: Map<String, Any?>) {
    fun read(): ModelSpec {
        ModelSpec.checkSchema(plain.needLong("schema"))
        val build = plain.needObject("build")
        return ModelSpec(
            buildId = build.need("id"),
            target = build.need("target"),
            file = fileName(plain, "file"),
            sha256 = plain.need("sha256"),
            sizeBytes = plain.needLong("size_bytes"),
            task = word<Task>(plain, "task"),
            inputs = plain.needObjects("inputs").map(::port),
            outputs = plain.needObjects("outputs").map(::port),
            preprocess = preprocess(plain.needObject("preprocess")),
            postprocess = postprocess(plain.needObject("postprocess")),
            text = part("text", ::text),
            labels = part("labels", ::labels),
            golden = part("golden", ::golden),
            preprocessGolden = part("preprocess_golden", ::preprocessGolden),
        )
    }

    private fun <T> part(name: String, read: (Map<String, Any?>) -> T): T? =
        if (plain[name] == null) null else read(plain.needObject(name))

    private fun port(plain: Map<String, Any?>): Port = Port(
        spec = spec(plain, plain["quantization"]?.let { quantization(plain.needObject("quantization")) }),
        kind = plain.need("kind"),
        layout = plain["layout"]?.let { word<Layout>(plain, "layout") },
    )

    private fun spec(plain: Map<String, Any?>, quantization: Quantization? = null): TensorSpec =
        TensorSpec(plain.need("name"), DType.of(plain.need("dtype")), plain.ints("shape").asList(), quantization)

    private fun quantization(plain: Map<String, Any?>): Quantization =
        Quantization(plain.needDouble("scale").toFloat(), plain.needInt("zero_point"))

    private fun preprocess(plain: Map<String, Any?>): PreprocessSpec = PreprocessSpec(
        resize = size(plain, "resize"),
        crop = size(plain, "crop"),
        colour = word(plain, "colour"),
        scale = plain.needDouble("scale").toFloat(),
        mean = plain.floats("mean").asList(),
        std = plain.floats("std").asList(),
        layout = word(plain, "layout"),
    )

    private fun size(plain: Map<String, Any?>, name: String): Size? {
        if (plain[name] == null) return null
        val axes = plain.ints(name)
        if (axes.size != 2 || axes.any { it < 1 }) throw JsonException("'$name' is no height and width")
        return Size(axes[0], axes[1])
    }

    private fun postprocess(plain: Map<String, Any?>): PostprocessSpec = when (val kind = plain.need<String>("kind")) {
        "classification" -> PostprocessSpec.Classification(
            plain.need("output"), plain.need<String>("activation") == "softmax", plain.needInt("top_k"),
        )
        "detection" -> detection(plain)
        "tensor" -> PostprocessSpec.Tensors
        else -> throw JsonException("outputs of the kind '$kind' are unknown to this app")
    }

    private fun detection(plain: Map<String, Any?>) = PostprocessSpec.Detection(
        layout = plain.need("layout"),
        boxes = plain.need("boxes"),
        scores = plain["scores"] as String?,
        classes = plain["classes"] as String?,
        count = plain["count"] as String?,
        boxFormat = plain.need("box_format"),
        normalised = plain.need<String>("box_units") == "normalised",
        classesFirst = plain.need("classes_first"),
        scoreMin = plain.needDouble("score_min").toFloat(),
        iouMax = plain.needDouble("iou_max").toFloat(),
        most = plain.needInt("most"),
    )

    private fun text(plain: Map<String, Any?>) = TextSpec(
        input = plain.need("input"),
        length = plain.needInt("length"),
        padding = plain.needLong("padding"),
        vocabulary = plain["vocabulary"]?.let { fileName(plain, "vocabulary") },
        unknown = plain.needLong("unknown"),
        lowercase = plain.need("lowercase"),
    )

    private fun labels(plain: Map<String, Any?>) =
        LabelSpec(fileName(plain, "file"), plain.need<List<*>>("languages").map { it.toString() })

    private fun golden(plain: Map<String, Any?>) = GoldenSpec(
        file = fileName(plain, "file"),
        sha256 = plain.need("sha256"),
        samples = plain.needInt("samples"),
        tensors = plain.needObjects("tensors").map(::goldenTensor),
        tolerances = plain.needObjects("tolerances").map {
            Tolerance(it.need("output"), it.needDouble("max_abs"), (it["cosine_min"] as Number?)?.toDouble())
        },
    )

    private fun goldenTensor(plain: Map<String, Any?>): GoldenTensor = GoldenTensor(
        sample = plain.needInt("sample"),
        isInput = plain.need<String>("role") == "input",
        spec = spec(plain),
        offset = plain.needInt("offset"),
        size = plain.needInt("size_bytes"),
    )

    private fun preprocessGolden(plain: Map<String, Any?>): PreprocessGolden {
        val tensor = plain.needObject("tensor")
        return PreprocessGolden(
            file = fileName(plain, "file"),
            width = plain.needInt("width"),
            height = plain.needInt("height"),
            pixelsOffset = plain.needInt("pixels_offset"),
            tensor = GoldenTensor(0, false, spec(tensor + ("name" to "")), tensor.needInt("offset"), tensor.needInt("size_bytes")),
            maxAbs = plain.needDouble("max_abs"),
        )
    }

    private fun fileName(plain: Map<String, Any?>, name: String): String = plain.need<String>(name).also {
        if (it.isEmpty() || '/' in it || it == "..") throw JsonException("'$name' is no name of a file")
    }

    private inline fun <reified E : Enum<E>> word(plain: Map<String, Any?>, name: String): E {
        val word = plain.need<String>(name)
        return enumValues<E>().firstOrNull { it.name.equals(word, ignoreCase = true) }
            ?: throw JsonException("'$name' cannot be '$word'")
    }
}
