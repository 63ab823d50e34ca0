// SPDX-License-Identifier: 0BSD
package org.palmtop.core

import kotlin.math.abs
import kotlin.math.floor
import kotlin.math.max
import kotlin.math.min

/** Pixels [height][width][channels] of 8 bits, row by row. */
class Pixels(val height: Int, val width: Int, val channels: Int, val bytes: ByteArray) {
    init {
        require(height > 0 && width > 0 && bytes.size == height * width * channels) {
            "${bytes.size} bytes are no picture of $height x $width x $channels"
        }
    }

    operator fun get(row: Int, column: Int, channel: Int): Int =
        bytes[(row * width + column) * channels + channel].toInt() and 0xff
}

/**
 * Bilinear resampling with antialiasing in fixed point: a triangle filter as wide as the reduction, first along rows,
 * then along columns, each pass rounded to 8 bits. Calibration and verification resized the very same way; the scalers
 * of the Android framework do not antialias and give a model other inputs than those that it was measured with.
 */
object Resample {
    private const val PRECISION_BITS = 22
    private const val ONE = (1 shl PRECISION_BITS).toDouble()

    fun resize(image: Pixels, size: Size): Pixels {
        val wide = if (image.width == size.width) image else alongRows(image, size.width)
        return if (wide.height == size.height) wide else alongColumns(wide, size.height)
    }

    /** The weights of the pixels [first], [first] + 1, … for one output pixel, in units of 2^-22. */
    private class Window(val first: Int, val weights: IntArray)

    private fun windows(from: Int, to: Int): Array<Window> {
        val step = from.toDouble() / to
        val reach = max(step, 1.0)
        return Array(to) { out ->
            val centre = (out + 0.5) * step
            val low = max(floor(centre - reach + 0.5).toInt(), 0)
            val high = min(floor(centre + reach + 0.5).toInt(), from)
            val raw = DoubleArray(high - low) { max(0.0, 1 - abs((low + it - centre + 0.5) * (1 / reach))) }
            val total = raw.sum()
            Window(low, IntArray(raw.size) { (raw[it] / total * ONE + 0.5).toInt() })
        }
    }

    private fun alongRows(image: Pixels, width: Int): Pixels {
        val out = ByteArray(image.height * width * image.channels)
        var at = 0
        val windows = windows(image.width, width)
        for (row in 0 until image.height) {
            for (window in windows) {
                for (channel in 0 until image.channels) {
                    out[at++] = weighted(window) { image[row, it, channel] }
                }
            }
        }
        return Pixels(image.height, width, image.channels, out)
    }

    private fun alongColumns(image: Pixels, height: Int): Pixels {
        val out = ByteArray(height * image.width * image.channels)
        var at = 0
        for (window in windows(image.height, height)) {
            for (column in 0 until image.width) {
                for (channel in 0 until image.channels) {
                    out[at++] = weighted(window) { image[it, column, channel] }
                }
            }
        }
        return Pixels(height, image.width, image.channels, out)
    }

    private inline fun weighted(window: Window, pixel: (Int) -> Int): Byte {
        var sum = 1 shl (PRECISION_BITS - 1)
        for (index in window.weights.indices) sum += window.weights[index] * pixel(window.first + index)
        return (sum shr PRECISION_BITS).coerceIn(0, 255).toByte()
    }
}
