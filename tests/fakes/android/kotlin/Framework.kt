// The little of Android's framework that the generated apps touch, by the names of API 36; `am instrument` is Main.kt.
package android.app

import android.content.Context
import android.os.Bundle

open class Activity : Context() {
    companion object {
        const val RESULT_OK = -1
        const val RESULT_CANCELED = 0
    }
}

open class Application : Context()

/** Prints what `am instrument -r` prints, and runs `onStart` in a thread of its own as the framework does. */
open class Instrumentation {
    var fakeContext: Context? = null
    private var worker: Thread? = null
    val targetContext: Context get() = checkNotNull(fakeContext)

    open fun onCreate(arguments: Bundle?) = Unit

    open fun onStart() = Unit

    fun start() {
        worker = Thread { onStart() }.also(Thread::start)
    }

    fun fakeJoin() = checkNotNull(worker).join()

    fun sendStatus(resultCode: Int, results: Bundle) {
        print("INSTRUMENTATION_STATUS: ", results)
        println("INSTRUMENTATION_STATUS_CODE: $resultCode")
    }

    fun finish(resultCode: Int, results: Bundle) {
        print("INSTRUMENTATION_RESULT: ", results)
        println("INSTRUMENTATION_CODE: $resultCode")
        System.out.flush()
    }

    private fun print(prefix: String, results: Bundle) {
        for ((key, value) in results.fakeValues) println("$prefix$key=$value")
    }
}
