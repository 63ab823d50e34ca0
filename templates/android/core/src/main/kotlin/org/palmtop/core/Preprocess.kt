// SPDX-License-Identifier: 0BSD
package org.palmtop.core

/**
 * From a picture to a model's input, exactly as calibration and verification did it: colour, resize, central crop,
 * `(x * scale - mean) / std` in single precision, then the axis order.
 */
class Preprocess(private val spec: PreprocessSpec, private val input: Port) {
    /**
     * Returns the input for a picture.
     *
     * @param image RGB, upright, without alpha.
     */
    fun apply(image: Pixels): Tensor {
        require(image.channels == RGB) { "a picture has red, green and blue, not ${image.channels} channels" }
        val cropped = crop(resize(toColour(image)))
        val layout = input.layout ?: spec.layout
        val axes = with(cropped) { if (layout == Layout.NHWC) listOf(height, width, channels) else listOf(channels, height, width) }
        require(input.spec.fits(listOf(1) + axes)) { "a picture becomes ${listOf(1) + axes}, the model wants ${input.spec.shape}" }
        val tensor = Tensor.zeros(input.spec.dtype, listOf(1) + axes)
        fill(tensor, cropped, layout)
        return tensor
    }

    private fun toColour(image: Pixels): Pixels {
        if (spec.colour != Colour.GRAY) return image
        val bytes = ByteArray(image.height * image.width) { pixel ->
            val red = image.bytes[3 * pixel].toInt() and 0xff
            val green = image.bytes[3 * pixel + 1].toInt() and 0xff
            val blue = image.bytes[3 * pixel + 2].toInt() and 0xff
            ((LUMA_RED * red + LUMA_GREEN * green + LUMA_BLUE * blue + LUMA_HALF) shr 16).toByte()
        }
        return Pixels(image.height, image.width, 1, bytes)
    }

    private fun resize(image: Pixels): Pixels {
        val size = spec.resize ?: spec.crop?.let { covering(image, it) } ?: return image
        return Resample.resize(image, size)
    }

    /** The picture's own size, or the smallest of its shape that covers the crop. */
    private fun covering(image: Pixels, crop: Size): Size {
        val factor = maxOf(crop.height.toDouble() / image.height, crop.width.toDouble() / image.width, 1.0)
        return Size(
            maxOf(Math.round(image.height * factor).toInt(), crop.height),
            maxOf(Math.round(image.width * factor).toInt(), crop.width),
        )
    }

    private fun crop(image: Pixels): Pixels {
        val size = spec.crop ?: return image
        require(size.height <= image.height && size.width <= image.width) { "the crop is larger than the resized picture" }
        val top = (image.height - size.height) / 2
        val left = (image.width - size.width) / 2
        val row = size.width * image.channels
        val bytes = ByteArray(size.height * row)
        for (line in 0 until size.height) {
            System.arraycopy(image.bytes, ((top + line) * image.width + left) * image.channels, bytes, line * row, row)
        }
        return Pixels(size.height, size.width, image.channels, bytes)
    }

    private fun fill(tensor: Tensor, image: Pixels, layout: Layout) {
        val quantization = input.spec.quantization
        val raw = !input.spec.dtype.isFloat && quantization == null
        var at = 0
        forEachPlace(image, layout) { row, column, channel ->
            val pixel = image[row, column, if (spec.colour == Colour.BGR) image.channels - 1 - channel else channel]
            tensor[at++] = when {
                raw -> pixel.toDouble()
                quantization != null -> (normalised(pixel, channel) / quantization.scale).toDouble() + quantization.zeroPoint
                else -> normalised(pixel, channel).toDouble()
            }
        }
    }

    private inline fun forEachPlace(image: Pixels, layout: Layout, each: (row: Int, column: Int, channel: Int) -> Unit) {
        if (layout == Layout.NCHW) {
            for (channel in 0 until image.channels) {
                for (row in 0 until image.height) for (column in 0 until image.width) each(row, column, channel)
            }
        } else {
            for (row in 0 until image.height) {
                for (column in 0 until image.width) for (channel in 0 until image.channels) each(row, column, channel)
            }
        }
    }

    private fun normalised(pixel: Int, channel: Int): Float {
        var value = pixel.toFloat()
        if (spec.scale != 1f) value *= spec.scale
        if (spec.mean.isNotEmpty()) value -= spec.mean[if (spec.mean.size == 1) 0 else channel]
        if (spec.std.isNotEmpty()) value /= spec.std[if (spec.std.size == 1) 0 else channel]
        return value
    }

    private companion object {
        const val RGB = 3
        // ITU-R BT.601 luma in 16-bit fixed point
        const val LUMA_RED = 19595
        const val LUMA_GREEN = 38470
        const val LUMA_BLUE = 7471
        const val LUMA_HALF = 1 shl 15
    }
}
